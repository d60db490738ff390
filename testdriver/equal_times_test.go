package testdriver_test

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

// TestEqualTimes_OrderIsThatOfTopologyTestDriver has one record go through several repartition
// topics, some of them one behind another. The order in which Kafka Streams 4.3 takes them was seen
// in its TopologyTestDriver.
func TestEqualTimes_OrderIsThatOfTopologyTestDriver(t *testing.T) {
	for n, want := range map[int]string{
		2: "x0a x1a x0b x1b",
		3: "x0a x0b x2a! x1a x2b! x1b",
		4: "x0a x3a x0b x3b x1a x2a! x1b x2b!",
		5: "x0a x4a x0b x4b x3a x3b x2a! x1a x2b! x1b",
		6: "x0a x0b x5a! x4a x5b! x4b x3a x3b x2a! x1a x2b! x1b",
		7: "x0a x6a x0b x6b x4a x5a! x4b x3a x5b! x3b x1a x2a! x1b x2b!",
	} {
		in, out := stream.NewTopic("in", serde.String, serde.String), stream.NewTopic("out", serde.String, serde.String)
		top := build(t, func(b *stream.Builder) {
			s := stream.From(b, in)
			for i := range n {
				both := stream.FlatMapValues(s, func(v string) iter.Seq[string] {
					return slices.Values([]string{fmt.Sprint(v, i, "a"), fmt.Sprint(v, i, "b")})
				})
				r := stream.Repartition(both, fmt.Sprint("rp", i))
				if i%3 == 2 {
					r = stream.Repartition(stream.MapValues(r, func(v string) string { return v + "!" }), fmt.Sprint("again", i))
				}
				stream.To(r, out)
			}
		})
		d := testdriver.New(t, top)
		testdriver.Input(d, in).Send("k", "x")
		var got []string
		for _, r := range testdriver.Output(d, out).Read() {
			got = append(got, r.Value)
		}
		assert.Equal(t, want, strings.Join(got, " "), "%d topics", n)
	}
}
