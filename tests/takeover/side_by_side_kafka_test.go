//go:build kafka

package takeover

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
)

// sideBySide runs two applications with the same inputs, one by Java and one by Go, at the same time: they have the same results in
// the end. Some records are late, and whether one is dropped is the same, too.
func (e *environment) sideBySide(t *testing.T) {
	ctx := t.Context()
	t.Log("seed", *seed)
	r := rand.New(rand.NewPCG(*seed, 2))
	began := time.Now().Add(-20 * time.Minute).Truncate(windowSize)
	const in, java, golang = "in.", "java.", "go."
	e.createTopics(t, ctx, inputs, in)
	w := newWriter(t, e.node.Addr, in)
	outs := map[string]*reader{}
	for _, prefix := range []string{java, golang} {
		e.createTopics(t, ctx, outputTopics(), prefix)
		outs[prefix] = read(t, e.node.Addr, prefix)
	}
	var written []record
	write := func(n int) {
		rs := withLate(r, batch(r, began, n, perBatch))
		w.write(t, ctx, rs)
		written = append(written, rs...)
	}
	// What is there before they start, and what comes while they run.
	const before, batches = 2, 8
	for n := range before {
		write(n)
	}
	s := settings{Broker: e.node.Addr, StateDir: t.TempDir(), In: in, Guarantee: millstream.ExactlyOnce}
	s.Application, s.Out = "in-java", java
	j := startJava(t, e.java, s)
	s.Application, s.Out, s.StateDir = "in-go", golang, t.TempDir()
	g := startGo(t, s)
	consumed := func() {
		t.Helper()
		eventually(t, func() string { return e.behind(t, ctx, "in-java", in) + e.behind(t, ctx, "in-go", in) }, j, g)
	}
	consumed()
	for n := before; n < batches; n++ {
		write(n)
		consumed()
	}
	want := func() map[string][]result {
		m := model(written)
		for _, topic := range withLateRecords {
			m[topic] = outs[java].of(topic)
		}
		return m
	}
	c := comparison{final: true}
	e.closeAll(t, ctx, w, began, func() string {
		if s := c.differ(outs[java].of, want()); s != "" {
			return "Java: " + s
		}
		return c.differ(outs[golang].of, want())
	}, j, g)
	j.stop(t)
	g.stop(t)
	require.Empty(t, c.differ(outs[java].of, want()))
	require.Empty(t, c.differ(outs[golang].of, want()))
	for _, topic := range withLateRecords {
		require.Less(t, len(outs[golang].of(topic)), len(model(written)[topic]), "late records of %s are dropped", topic)
	}
}

// withLateRecords are the outputs that depend on which records are late.
var withLateRecords = []string{"click-windows", "click-finals", "visit-sessions"}

// withLate returns the records with some that are late. Which are depends on the order of one partition, and nothing else.
func withLate(r *rand.Rand, rs []record) []record {
	for i, x := range rs {
		if (x.topic == "clicks" || x.topic == "visits") && r.IntN(8) == 0 {
			rs[i].at -= r.Int64N(4 * time.Minute.Milliseconds())
		}
	}
	return rs
}
