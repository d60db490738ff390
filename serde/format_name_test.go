package serde_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/serde"
)

type codec struct{ serde.Codec }

type named struct{ codec }

func (named) FormatName() string { return "msgpack" }

// The names are remembered by stores: another one would refuse what is there.
func TestFormatName(t *testing.T) {
	name := func(s any) string {
		if n, ok := s.(serde.Named); ok {
			return n.FormatName()
		}
		return ""
	}
	fallback := func(c serde.Codec) any {
		s, err := serde.Find[struct{ A int }](&serde.Registry{Fallback: c})
		assert.NoError(t, err)
		return s
	}
	for want, all := range map[string][]any{
		"bytes":       {serde.String, serde.Bytes},
		"int64":       {serde.Int64, serde.Time},
		"bool":        {serde.Bool},
		"int16":       {serde.Int16},
		"int32":       {serde.Int32},
		"float32":     {serde.Float32},
		"float64":     {serde.Float64},
		"uuid":        {serde.UUID},
		"none":        {serde.None},
		"json":        {serde.JSON[int](), serde.JSON[struct{ A int }](), fallback(serde.JSONCodec)},
		"list(int64)": {serde.Slice(serde.Int64)},
		"list(json)":  {serde.Slice(serde.JSON[[]int]())},
		"msgpack":     {fallback(named{})},
		"":            {serde.Func[int](nil, nil), serde.Slice(serde.Func[int](nil, nil)), fallback(codec{})},
	} {
		for _, s := range all {
			assert.Equal(t, want, name(s), "%T", s)
		}
	}
}
