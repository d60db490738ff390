package conformance

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

var keyValue = store.NewKeyValue("kv", serde.String, serde.String)

var stores = map[string]program{
	"store-key-value-commands": {build: func(b *stream.Builder) {
		to(stream.Process(from(b, "in"), "p", func(c *ctx) (func(rec) error, error) {
			kv := keyValue.In(c)
			return func(r rec) error {
				v, err := command(kv, r.Key, strings.Split(r.Value, ":"))
				c.Forward(stream.WithValue(r, v))
				return err
			}, nil
		}, keyValue), "out")
	}},
	"store-window-commands": {build: func(b *stream.Builder) {
		to(stream.Process(from(b, "in"), "p", func(c *ctx) (func(rec) error, error) {
			ws := windowed.In(c)
			return func(r rec) error {
				v, err := windowCommand(ws, r.Key, strings.Split(r.Value, ":"))
				c.Forward(stream.WithValue(r, v))
				return err
			}, nil
		}, windowed), "out")
	}},
	"store-session-commands": {build: func(b *stream.Builder) {
		to(stream.Process(from(b, "in"), "p", func(c *ctx) (func(rec) error, error) {
			ss := sessioned.In(c)
			return func(r rec) error {
				v, err := sessionCommand(ss, r.Key, strings.Split(r.Value, ":"))
				c.Forward(stream.WithValue(r, v))
				return err
			}, nil
		}, sessioned), "out")
	}},
	"store-versioned-commands": {build: func(b *stream.Builder) {
		to(stream.Process(from(b, "in"), "p", func(c *ctx) (func(rec) error, error) {
			vs := versioned.In(c)
			return func(r rec) error {
				v, err := versionCommand(vs, r.Key, strings.Split(r.Value, ":"))
				c.Forward(stream.WithValue(r, v))
				return err
			}, nil
		}, versioned), "out")
	}},
}

var (
	windowed  = store.NewWindow("ws", serde.String, serde.String, 10*time.Millisecond, time.Hour)
	sessioned = store.NewSession("ss", serde.String, serde.String, time.Hour)
	versioned = store.NewVersioned("vs", serde.String, serde.String, time.Second)
)

func windowCommand(s store.Window[string, string], key string, f []string) (string, error) {
	switch f[0] {
	case "put":
		if f[2] == "" {
			return "ok", s.Delete(key, moment(f[1]))
		}
		return "ok", s.Put(key, moment(f[1]), f[2])
	case "get":
		v, ok, err := s.Get(key, moment(f[1]))
		return str(v, !ok), err
	case "fetch":
		return windowStarts(s.Fetch(key, moment(f[1]), moment(f[2])))
	case "backward":
		return windowStarts(s.Backward(key, moment(f[1]), moment(f[2])))
	}
	return "", fmt.Errorf("unknown command %q", f[0])
}

func windowStarts(rows iter.Seq2[store.WindowRow[string, string], error]) (string, error) {
	var out []string
	for r, err := range rows {
		if err != nil {
			return "", err
		}
		out = append(out, fmt.Sprintf("%d=%s", r.Start.UnixMilli(), r.Value))
	}
	return strings.Join(out, ","), nil
}

func sessionCommand(s store.Session[string, string], key string, f []string) (string, error) {
	switch f[0] {
	case "put":
		return "ok", s.Put(key, moment(f[1]), moment(f[2]), f[3])
	case "remove":
		return "ok", s.Delete(key, moment(f[1]), moment(f[2]))
	case "get":
		v, ok, err := s.Get(key, moment(f[1]), moment(f[2]))
		return str(v, !ok), err
	case "find":
		var out []string
		for r, err := range s.Find(key, moment(f[1]), moment(f[2])) {
			if err != nil {
				return "", err
			}
			out = append(out, fmt.Sprintf("%d-%d=%s", r.Start.UnixMilli(), r.End.UnixMilli(), r.Value))
		}
		return strings.Join(out, ","), nil
	}
	return "", fmt.Errorf("unknown command %q", f[0])
}

func versionCommand(s store.Versioned[string, string], key string, f []string) (string, error) {
	switch f[0] {
	case "put":
		var to time.Time
		var kept bool
		var err error
		if f[2] == "" {
			to, kept, err = s.Delete(key, moment(f[1]))
		} else {
			to, kept, err = s.Put(key, f[2], moment(f[1]))
		}
		switch {
		case !kept:
			return "rejected", err
		case to.IsZero():
			return "-1", err
		}
		return fmt.Sprint(to.UnixMilli()), err
	case "delete":
		old, ok, err := s.AsOf(key, moment(f[1]))
		if err != nil {
			return "", err
		}
		_, kept, err := s.Delete(key, moment(f[1]))
		return str(fmt.Sprintf("%s@%d", old.Value, old.From.UnixMilli()), !ok || !kept), err
	case "get":
		return versionText(s.Get(key))
	case "asOf":
		return versionText(s.AsOf(key, moment(f[1])))
	}
	return "", fmt.Errorf("unknown command %q", f[0])
}

func versionText(v store.VersionRow[string], ok bool, err error) (string, error) {
	return str(fmt.Sprintf("%s@%d", v.Value, v.From.UnixMilli()), !ok), err
}

// command runs a command on the store and returns what it answers.
func command(kv store.KeyValue[string, string], key string, f []string) (string, error) {
	switch f[0] {
	case "put":
		return "ok", kv.Put(key, f[1])
	case "putIfAbsent":
		v, ok, err := kv.PutIfAbsent(key, f[1])
		return str(v, !ok), err
	case "delete":
		v, ok, err := kv.Get(key)
		if err != nil {
			return "", err
		}
		return str(v, !ok), kv.Delete(key)
	case "get":
		v, ok, err := kv.Get(key)
		return str(v, !ok), err
	case "all":
		return list(kv.All())
	case "reverseAll":
		return list(kv.Backward())
	case "range":
		return list(kv.Range(bounds(f[1], f[2])...))
	case "reverseRange":
		return list(kv.Backward(bounds(f[1], f[2])...))
	case "prefix":
		return list(store.Prefix(kv, f[1]))
	}
	return "", fmt.Errorf("unknown command %q", f[0])
}

func bounds(from, to string) (b []store.Bound[string]) {
	if from != "" {
		b = append(b, store.From(from))
	}
	if to != "" {
		b = append(b, store.To(to))
	}
	return b
}

func list(rows iter.Seq2[store.Row[string, string], error]) (string, error) {
	var out []string
	for r, err := range rows {
		if err != nil {
			return "", err
		}
		out = append(out, r.Key+"="+r.Value)
	}
	return strings.Join(out, ","), nil
}

func moment(digits string) time.Time {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		panic(err)
	}
	return time.UnixMilli(n)
}
