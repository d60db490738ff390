package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Code moves on: what the defects are planted in has to be there, once.
func TestEveryDefectCanBePlanted(t *testing.T) {
	root, err := moduleRoot()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, copyModule(root, dir))
	for _, m := range mutants {
		undo, err := m.plant(dir)
		require.NoError(t, err, m.name)
		require.NoError(t, undo(), m.name)
	}
	for _, p := range peers {
		undo, err := mutant{p.name, p.edits}.plant(dir)
		require.NoError(t, err, p.name)
		require.NoError(t, undo(), p.name)
	}
	for _, w := range wrongs {
		undo, err := mutant{w.fault, w.edits}.plant(dir)
		require.NoError(t, err, "%s: %s", w.oracle, w.fault)
		require.NoError(t, undo(), w.fault)
	}
}

func TestJudge(t *testing.T) {
	for out, want := range map[string]verdict{
		"x\n    sim_test.go:1: seed 17: twice: e5 was copied 2 times\n": {true, "17", "twice: e5 was copied 2 times"},
		"history hangs after 30s of real time\nseed 8, gentle\n":        {true, "8", "history hangs after 30s of real time"},
		"panic: deadlock\n\tTestHistories/of/seed=9\n":                  {true, "9", "panic: deadlock"},
		"faults that never took effect":                                 {},
	} {
		assert.Equal(t, want, judge([]byte(out)), "%q", out)
	}
}
