package offsetmeta

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func program(topics map[string]*Type) Program {
	p := NewProgram()
	for name, t := range topics {
		p.Put(name, t)
	}
	return p
}

func TestProgram_WithoutInternalTopics(t *testing.T) {
	assert.True(t, again(t, NewProgram(), 10).Known())
	p, err := ProgramOf(map[string]int64{OperatorKey("late"): 1, "store": 2})
	require.NoError(t, err)
	assert.False(t, p.Known(), "Kafka Streams' entries")
}

// again encodes p as a committed offset has it and reads it back.
func again(t *testing.T, p Program, limit int) Program {
	t.Helper()
	entry, err := p.Entry(limit)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(entry), limit)
	_, entries, err := Decode(Encode(1500, map[string]int64{OperatorKey("late"): 3, entry: 0}))
	require.NoError(t, err)
	out, err := ProgramOf(entries)
	require.NoError(t, err)
	return out
}

func TestProgram_Golden(t *testing.T) {
	p := program(map[string]*Type{
		"counts-changelog": {Layout: "window 1m0s", Key: "string", Value: "list(a,b;c)"}, "by-user-repartition": nil, "seen-changelog": {Layout: "keyvalue"},
	})
	for _, c := range []struct {
		limit int
		want  string
	}{
		{1000, "#t3qNTvbGF=keyvalue,,;HPne-A6C=window+1m0s,string,list%28a%2Cb%3Bc%29;vX9jaQId"},
		{60, "#h3qNTvbGF=tL_n,,;HPne-A6C=XTSC,RzKH,Yc8b;vX9jaQId"},
		{30, "#n3qNTvbGF;HPne-A6C;vX9jaQId"},
	} {
		got, err := p.Entry(c.limit)
		require.NoError(t, err)
		assert.Equal(t, c.want, got)
	}
	_, err := p.Entry(27)
	assert.ErrorIs(t, err, ErrTooLarge)
}

func TestProgram_RoundTrip(t *testing.T) {
	was := Type{Layout: "window 1m0s", Key: "string", Value: "int64"}
	p := program(map[string]*Type{"counts-changelog": &was, "r-repartition": nil, "own-changelog": {Layout: "keyvalue", Key: "string"}})
	for _, limit := range []int{1000, 80, 40} {
		got := again(t, p, limit)
		for _, name := range []string{"counts-changelog", "r-repartition", "own-changelog"} {
			assert.True(t, got.Has(name), name)
		}
		assert.False(t, got.Has("other-changelog"))
		_, changed := got.Changed("r-repartition", was)
		assert.False(t, changed, "it has no type")
		if limit == 40 {
			continue // names only
		}
		for _, c := range []struct {
			now     Type
			changed bool
		}{
			{was, false},
			{Type{Layout: "window 1m0s"}, false}, // serdes without a name are not compared
			{Type{Layout: "session", Key: "string", Value: "int64"}, true},
			{Type{Layout: "window 2m0s", Key: "string", Value: "int64"}, true},
			{Type{Layout: "window 1m0s", Key: "int64", Value: "int64"}, true},
			{Type{Layout: "window 1m0s", Key: "string", Value: "json"}, true},
		} {
			before, changed := got.Changed("counts-changelog", c.now)
			assert.Equal(t, c.changed, changed, "%v, at most %d bytes", c.now, limit)
			if limit == 1000 {
				assert.Equal(t, was, before)
			}
		}
		_, changed = got.Changed("own-changelog", Type{Layout: "keyvalue", Key: "string", Value: "json"})
		assert.False(t, changed, "it had no name before")
	}
}

func TestProgram_TooLarge(t *testing.T) {
	p := NewProgram()
	for i := range 330 {
		p.Put(fmt.Sprintf("store-%d-changelog", i), &Type{"keyvalue", "string", "json"})
	}
	require.NoError(t, Check(nil, p, MaxSize))
	entry, err := p.Entry(NameRoom(nil, MaxSize))
	require.NoError(t, err)
	assert.LessOrEqual(t, len(Encode(1, map[string]int64{entry: 0})), MaxSize)
	operators := []string{OperatorKey(strings.Repeat("n", 200))}
	assert.ErrorIs(t, Check(operators, p, MaxSize), ErrTooLarge)
	assert.NoError(t, Check(operators, Program{}, MaxSize))
}

func FuzzProgramOf(f *testing.F) {
	f.Add("tYYbTrLuq;bIvkrf6C=keyvalue,,;p4CqGwUV=window+1m0s,string,list%28a%2Cb%3Bc%29")
	f.Add("hYYbTrLuq;p4CqGwUV=QKnJ,RzKH,7aD7")
	f.Add("n")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ProgramOf(map[string]int64{programPrefix + s: 0})
		if err != nil || !p.Known() {
			return
		}
		entry, err := p.Entry(1 << 20)
		require.NoError(t, err)
		same, err := ProgramOf(map[string]int64{entry: 0})
		require.NoError(t, err)
		assert.Equal(t, p, same)
	})
}
