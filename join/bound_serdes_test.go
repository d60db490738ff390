package join_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

// bySubject writes the topic into the bytes, as a schema registry has a schema for each topic.
type bySubject struct{ topic string }

func (s bySubject) Bind(topic string, isKey bool) (serde.Serde[string], error) {
	return bySubject{fmt.Sprint(topic, isKey, "|")}, nil
}

func (s bySubject) Append(dst []byte, v string) ([]byte, error) {
	return append(append(dst, s.topic...), v...), nil
}

func (s bySubject) Decode(b []byte) (string, error) {
	v, ok := bytes.CutPrefix(b, []byte(s.topic))
	if !ok {
		return "", fmt.Errorf("%q was not written for %q", b, s.topic)
	}
	return string(v), nil
}

func TestBoundSerdes_OfJoinsPerChangelog(t *testing.T) {
	subjects := func(s kstream) kstream { return s.WithSerdes(bySubject{}, bySubject{}) }
	same := func(r stream.Record[string, string]) stream.Record[string, string] { return r }
	for _, opts := range [][]store.Option{nil, {store.Name("s")}} {
		d := two(t, func(l, r kstream, _ ...store.Option) kstream {
			l, r = subjects(stream.MapRecords(l, same)), subjects(stream.MapRecords(r, same))
			return join.StreamStreamOuter(l, r, around(10, 10, 0), "j", pairOrOne, opts...)
		})
		send(d, "left a=1@0", "others a=x@1", "left b=2@2", "others c=y@3", "left b=3@2", "others b=z@4", "left d=4@30")
		assert.Equal(t, "a=1+x@1 others, b=2+z@4 others, b=3+z@4 others, c=none+y@3 left", taken(d))
	}
	d := drive(t, func(b *stream.Builder) {
		rows := table.From(b, rows, "rows", store.Versions(ms(100)))
		s := subjects(stream.MapRecords(stream.From(b, left), same))
		stream.To(join.StreamTable(s, rows, "j", pair, join.Grace(ms(10))), joined)
	})
	send(d, "rows a=x@1", "left a=1@1", "left a=2@20")
	assert.Equal(t, "a=1+x@1 left", taken(d))
}

func TestBoundSerdes_OfTableJoinsPerTopic(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		l := rowsOf(b, "left").WithSerdes(bySubject{}, bySubject{})
		r := rowsOf(b, "right").WithSerdes(bySubject{}, bySubject{})
		fk := foreigns(l, r).WithSerdes(bySubject{}, bySubject{})
		groups := table.GroupBy(fk, func(_, v string) (string, string, bool) { return v[:1], v, true }).WithSerdes(bySubject{}, bySubject{})
		agg := table.AggregateRows(groups, "agg", table.Zero,
			func(_, v, agg string) string { return agg + "+" + v }, func(_, v, agg string) string { return agg + "-" + v })
		stream.To(table.ToStream(outers(fk, agg.WithSerdes(bySubject{}, bySubject{}))), joined)
	}) // one partition: where a key's bytes differ from topic to topic, so does its partition
	send(d, "left k=f|1@1", "right f=X@2", "left k=g|2@3")
	d.Restart()
	send(d, "right g=Y@4", "left k@5")
	assert.Equal(t, map[string]string{"f": "none++f|1+X-f|1+X", "g": "none++g|2+Y-g|2+Y"}, testdriver.Table(testdriver.Output(d, joined)))
}
