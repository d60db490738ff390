package conformance

import (
	"strings"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// before is the part of a value before its first "|", null when there is none.
func before(r rec) (string, bool) {
	k, _, ok := strings.Cut(r.Value, "|")
	return k, ok && !r.Tombstone
}

func ownKey(r rec) (string, bool) { return r.Key, !r.NoKey }

func global(b *stream.Builder, name string) table.GlobalKTable[string, string] {
	return table.Global(b, topic("global"), name)
}

var globalStore = store.NewKeyValue("gs", serde.String, serde.String)

var globals = map[string]program{
	"global-table-inner-join-by-value": {build: func(b *stream.Builder) {
		to(join.StreamGlobal(from(b, "stream"), global(b, "global-rows"), before, plus), "out")
	}},
	"global-table-inner-join-by-key": {build: func(b *stream.Builder) {
		to(join.StreamGlobal(from(b, "stream"), global(b, "gt"), ownKey, plus), "out")
	}},
	"global-table-left-join-by-value": {build: func(b *stream.Builder) {
		to(join.StreamGlobalLeft(from(b, "stream"), global(b, "global-rows"), before, orNull), "out")
	}},
	"global-table-left-join-by-key": {build: func(b *stream.Builder) {
		to(join.StreamGlobalLeft(from(b, "stream"), global(b, "gt"), ownKey, orNull), "out")
	}},
	"global-store-read-by-processor": {build: func(b *stream.Builder) {
		stream.GlobalStore(b, topic("global"), "keep-gs", func(t *topology.Task) (func(rec) error, error) {
			gs := globalStore.In(t)
			return func(r rec) error {
				switch {
				case r.NoKey:
					return nil
				case r.Tombstone:
					return gs.Delete(r.Key)
				}
				return gs.Put(r.Key, r.Value+"*")
			}, nil
		}, globalStore)
		to(stream.Process(from(b, "stream"), "look-up", func(c *ctx) (func(rec) error, error) {
			gs := globalStore.In(c)
			return func(r rec) error {
				row, ok, err := "", false, error(nil)
				if !r.NoKey {
					row, ok, err = gs.Get(r.Key)
				}
				c.Forward(stream.WithValue(r, orNull(value(r), row, ok)))
				return err
			}, nil
		}, globalStore), "out")
	}},
}
