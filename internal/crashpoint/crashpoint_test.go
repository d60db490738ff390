package crashpoint_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/crashpoint"
)

func TestHook_FromContext(t *testing.T) {
	var met []crashpoint.Point
	ctx := crashpoint.With(context.Background(), func(p crashpoint.Point) { met = append(met, p) })
	for _, p := range crashpoint.Points() {
		crashpoint.From(ctx).At(p)
	}
	assert.Equal(t, crashpoint.Points(), met)
	crashpoint.From(context.Background()).At(crashpoint.CutBegin) // no hook: nothing
}

func TestPoint_Names(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range slices.Concat(crashpoint.Points(), crashpoint.TransactionPoints(), crashpoint.StandbyPoints(),
		crashpoint.RewindPoints(), crashpoint.AbandonedPoints()) {
		assert.NotEmpty(t, p.String())
		assert.False(t, seen[p.String()], "%v twice", p)
		seen[p.String()] = true
	}
	assert.Equal(t, "point 0", crashpoint.Point(0).String())
}

func TestCatch_OnlyDead(t *testing.T) {
	died := 0
	func() {
		defer crashpoint.Catch(func() { died++ })
		panic(crashpoint.Dead)
	}()
	assert.Equal(t, 1, died)
	assert.PanicsWithValue(t, "another", func() {
		defer crashpoint.Catch(func() { died++ })
		panic("another")
	})
	assert.Equal(t, 1, died)
}
