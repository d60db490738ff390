package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func properties(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "idmapping.properties")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestConfig_FlagsWinOverTheFile(t *testing.T) {
	file := properties(t, `# a comment
application.id = finance
bootstrap.servers=kafka-1:9092, kafka-2:9092
! another comment
stream.topic.name=user-events
stream.topic.partitions=3
stream.topic.replication.factor=2
table.topic.name: users
rekeyed.topic.name=users-by-phone
output.topic.name=mapped
output.topic.partitions=6
`)
	c, err := parse([]string{"-config", file, "-brokers", "localhost:9092", "-mode", "mapping", "-once"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, "finance", c.Application)
	assert.Equal(t, []string{"localhost:9092"}, c.Brokers, "the flag wins")
	assert.Equal(t, TopicConfig{Name: "user-events", Partitions: 3, Replication: 2}, c.Stream)
	assert.Equal(t, "users", c.Table.Name)
	assert.Equal(t, "users-by-phone", c.Rekeyed.Name)
	assert.Equal(t, TopicConfig{Name: "mapped", Partitions: 6, Replication: -1}, c.Output)
	assert.True(t, c.Once)
	assert.Equal(t, "finance-dead-letters", c.deadLetters())

	c, err = parse([]string{"-config", file}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, []string{"kafka-1:9092", "kafka-2:9092"}, c.Brokers)
	assert.Equal(t, "learning", c.Mode)
}

func TestConfig_ListsEveryMistake(t *testing.T) {
	file := properties(t, "stream.topic.partitions=none\nno separator\nstream.topic.nmae=x\noutput.topic.replication.factor=0\ntable.topic.name=events\napplication.id=\n")
	_, err := parse([]string{"-config", file, "-mode", "both", "-generate", "-1", "left-over"}, io.Discard)
	require.Error(t, err)
	for _, want := range []string{
		`line 1: stream.topic.partitions is "none"`, `line 2: "no separator"`, `line 3: stream.topic.nmae is unknown`,
		`line 4: output.topic.replication.factor is "0"`, `application.id is empty`, `-mode is "both"`, `-generate is -1`,
		`stream.topic.name and table.topic.name are both "events"`, `unexpected argument "left-over"`,
	} {
		assert.ErrorContains(t, err, want)
	}
	file = properties(t, "application.id=my app\nbootstrap.servers=kafka\nstream.topic.name=user events\n")
	_, err = parse([]string{"-config", file}, io.Discard)
	for _, want := range []string{`application.id is "my app"`, `has "kafka", which is not host:port`, `stream.topic.name is "user events"`} {
		assert.ErrorContains(t, err, want)
	}
	_, err = parse([]string{"-config", filepath.Join(t.TempDir(), "missing")}, io.Discard)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestIDs_AnyJSONObject(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     IDs
	}{
		{"all identifiers", `{"phone":"1","idCard":"2","deviceId":"3"}`, IDs{"1", "2", "3"}},
		{"other fields are ignored, missing ones empty", ` {"phone":"1","amount":[1,{}]} `, IDs{Phone: "1"}},
		{"identifiers that are no strings are empty", `{"phone":1,"idCard":null,"deviceId":{"a":"b"}}`, IDs{}},
		{"names are exact", `{"Phone":"1","IDCARD":"2"}`, IDs{}},
		{"an empty object", `{}`, IDs{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := idsSerde.Decode([]byte(c.in))
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
	for _, in := range []string{``, `null`, `[]`, `"x"`, `1`, `{`, `{"phone":"1"} x`, "\xff"} {
		_, err := idsSerde.Decode([]byte(in))
		assert.ErrorIs(t, err, errNoObject, in)
	}
}

func FuzzIDs(f *testing.F) {
	for _, s := range []string{`{"phone":"1","idCard":"2","deviceId":"3"}`, `{"phone":1}`, `{`, `null`, "{\"phone\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := idsSerde.Decode(b)
		if err != nil {
			require.ErrorIs(t, err, errNoObject)
			return
		}
		b, err = idsSerde.Append(nil, v)
		require.NoError(t, err)
		again, err := idsSerde.Decode(b)
		require.NoError(t, err)
		assert.Equal(t, v, again)
	})
}

func FuzzProperties(f *testing.F) {
	f.Add("# a comment\napplication.id = finance\nstream.topic.partitions=3\n")
	f.Add("a\nb=c\ntable.topic.name:x\nstream.topic.partitions=99999999999999999999")
	f.Fuzz(func(t *testing.T, s string) {
		c := defaults()
		if c.read(strings.NewReader(s)) == nil && c.check() == nil {
			assert.Positive(t, c.Stream.Partitions)
		}
	})
}
