package table_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

// loose decodes texts however they are quoted, and writes them plainly: the bytes of a row are not
// those of its record.
var loose = serde.Func(
	func(b []byte, s string) ([]byte, error) { return append(b, s...), nil },
	func(b []byte) (string, error) {
		if bytes.HasPrefix(b, []byte("!")) {
			return "", fmt.Errorf("%q cannot be read", b)
		}
		return string(bytes.Trim(b, `"`)), nil
	})

func TestSourceIsChangelog_RestoresTheTable(t *testing.T) {
	in := stream.NewTopic("in", loose, loose).OnDecodeError(failure.Skip())
	var rows store.KeyValueRef[string, string]
	b := stream.NewBuilder()
	tab := table.From(b, in, "rows", store.SourceIsChangelog())
	rows = tab.Store()
	stream.To(table.ToStream(tab), results)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.ManualCommit(), testdriver.Partitions(3))

	send := func(k, v string, at int64) {
		testdriver.Input(d, in).Partition(1).At(time.UnixMilli(at)).SendBytes([]byte(k), []byte(v))
	}
	send(`"a"`, "1", 1)
	send("a", "!", 2)
	send("!", "x", 2)
	send("b", "2", 3)
	testdriver.Input(d, in).Partition(1).At(time.UnixMilli(4)).Delete("b")
	send("c", `"3"`, 5)
	d.Commit()
	send("a", "later", 6) // not committed: processed again after a restart
	for _, restart := range []func(){d.Restart, d.Wipe} {
		testdriver.Output(d, results).Read()
		restart()
		assert.Equal(t, "a=later@6", taken(d, results), "what was not committed is processed, the rest is restored")
		var got []string
		for r, err := range rows.In(d).All() {
			require.NoError(t, err)
			got = append(got, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Time.UnixMilli()))
		}
		assert.Equal(t, []string{"a=later@6", "c=3@5"}, got)
	}
	assert.Equal(t, []string{results.Name()}, d.Topics(), "there is no changelog")
}

func TestSourceIsChangelog_Mistakes(t *testing.T) {
	early := func(r record, _ time.Time) (time.Time, bool) { return r.Time, true }
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"a function of times", func(b *stream.Builder) {
			table.From(b, texts.Timestamp(early), "rows", store.SourceIsChangelog())
		}, "Timestamp function"},
		{"a start elsewhere", func(b *stream.Builder) {
			table.From(b, texts.StartAt(stream.Latest), "rows", store.SourceIsChangelog())
		}, "has StartAt"},
		{"no changelog besides", func(b *stream.Builder) {
			table.From(b, texts, "rows", store.SourceIsChangelog(), store.NoChangelog())
		}, "there is no changelog of its own"},
		{"a table that is not read from a topic", func(b *stream.Builder) {
			table.ToTable(stream.From(b, texts), "rows", store.SourceIsChangelog())
		}, "option store.SourceIsChangelog does not apply here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "source_is_changelog_test.go:")
		})
	}
}

func TestSourceIsChangelog_OnDemandUnreadIsNotRestored(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		tab := table.From(b, texts, "rows", store.SourceIsChangelog(), store.OnDemand())
		stream.To(table.ToStream(tab), results)
	})
	send(d, texts, "a=1@1")
	d.Restart()
	assert.Equal(t, "a=1@1", taken(d, results))
}

func ExampleGlobal() {
	b := stream.NewBuilder()
	names := table.Global(b, texts, "names")

	d := run(b)
	testdriver.Input(d, texts).Send("is", "Iceland")
	name, ok, err := names.Store().In(d).Get("is")
	fmt.Println(name, ok, err)
	// Output: Iceland true <nil>
}
