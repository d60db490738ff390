package conformance

import (
	"fmt"
	"iter"
	"strings"

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
