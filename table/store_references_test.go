package table_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

// looking returns a processor that answers each record with what the store has for its value.
func looking(ref store.KeyValueRef[string, string]) func(*stream.Context[string, string]) (func(record) error, error) {
	return func(c *stream.Context[string, string]) (func(record) error, error) {
		s := ref.In(c)
		return func(r record) error {
			v, ok, err := s.Get(r.Value)
			if ok {
				c.Forward(stream.WithValue(r, v))
			}
			return err
		}, nil
	}
}

var questions = stream.NewTopic("questions", serde.String, serde.String)

func TestStoreReference_ProcessorReadsTheStoreOfATable(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		rows := table.From(b, texts, "rows").Store()
		stream.To(stream.Process(stream.From(b, questions), "ask", looking(rows), rows), results)
	})
	send(d, texts, "a=1@1")
	send(d, questions, "q=a@2", "q=b@3")
	assert.Equal(t, "q=1@2", taken(d, results))
}

func TestStoreReference_StepsShareTheStore(t *testing.T) {
	ref := store.NewKeyValue("shared", serde.String, serde.String)
	d := drive(t, func(b *stream.Builder) {
		stream.To(stream.Process(stream.From(b, texts), "put", func(c *stream.Context[string, string]) (func(record) error, error) {
			s := ref.In(c)
			return func(r record) error { return s.Put(r.Key, r.Value) }, nil
		}, ref), results)
		stream.To(stream.Process(stream.From(b, questions), "ask", looking(ref), ref), results)
	})
	send(d, texts, "a=1@1")
	send(d, questions, "q=a@2")
	assert.Equal(t, "q=1@2", taken(d, results))
}

func TestStoreReference_Mistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder) store.KeyValueRef[string, string]
		want string
	}{
		{"the store of a table that keeps none", func(b *stream.Builder) store.KeyValueRef[string, string] {
			return table.MapValues(table.From(b, texts, "t"), func(v string) string { return v }).Store()
		}, "has no store; make one with table.Materialize"},
		{"the store of a table on demand that nothing demands", func(b *stream.Builder) store.KeyValueRef[string, string] {
			return table.From(b, texts, "t", store.OnDemand()).Store()
		}, "has no store"},
		{"a table of another builder", func(*stream.Builder) store.KeyValueRef[string, string] {
			return table.From(stream.NewBuilder(), texts, "t").Store()
		}, "belongs to another builder"},
		{"a zero reference", func(*stream.Builder) (r store.KeyValueRef[string, string]) { return r }, "a reference to a store is zero"},
		{"an option that does not apply", func(*stream.Builder) store.KeyValueRef[string, string] {
			return store.NewKeyValue("s", serde.String, serde.String, store.OnDemand())
		}, `store "s": option store.OnDemand does not apply here`},
		{"a name that a table has", func(b *stream.Builder) store.KeyValueRef[string, string] {
			table.From(b, texts, "t")
			return store.NewKeyValue("t", serde.String, serde.String)
		}, `store "t" exists`},
		{"no serde", func(*stream.Builder) store.KeyValueRef[string, string] {
			return store.NewKeyValue[string, string]("s", serde.String, nil)
		}, "no serde for its values"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			ref := tt.f(b)
			stream.Process(stream.From(b, questions), "ask", looking(ref), ref)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "store_references_test.go:")
		})
	}
}

func TestStoreReference_UnlistedStoreEndsTheTask(t *testing.T) {
	b := stream.NewBuilder()
	rows := table.From(b, texts, "rows").Store()
	stream.Process(stream.From(b, questions), "ask", looking(rows))
	top, err := b.Build()
	require.NoError(t, err)
	var said string
	testdriver.New(fatal{t, &said}, top)
	assert.Contains(t, said, `it opens store "rows", which is not among what it uses`)
}

// fatal keeps the message of a test that ends.
type fatal struct {
	*testing.T
	said *string
}

func (f fatal) Fatalf(format string, args ...any) {
	for _, a := range args {
		if err, ok := a.(error); ok {
			*f.said = err.Error()
		}
	}
}
