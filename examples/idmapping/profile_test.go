package main

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of random tests") //nolint:gosec // any bits do

func fold(facts []Fact) Profile {
	p := newProfile()
	for _, f := range facts {
		p = p.add(f)
	}
	return p
}

// A profile is the same whatever order its facts come in, ties and erasures included.
func TestProfile_DoesNotDependOnOrder(t *testing.T) {
	t.Logf("seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	some := func(s ...string) string { return s[rnd.IntN(len(s))] }
	for range 2000 {
		facts := make([]Fact, 1+rnd.IntN(8))
		for i := range facts {
			facts[i] = Fact{IDs: IDs{"1", some("", "a", "b"), some("", "x", "y")}, At: int64(rnd.IntN(5)), Erase: rnd.IntN(5) == 0}
		}
		want := fold(facts)
		rnd.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
		assert.Equal(t, want.known(), fold(facts).known(), "%v", facts)
		if want.known() {
			assert.Equal(t, want, fold(facts), "%v", facts)
		}
	}
}

func TestProfile_Rules(t *testing.T) {
	say := func(at int64, card, device string) Fact { return Fact{IDs: IDs{"1", card, device}, At: at} }
	erase := func(at int64) Fact { return Fact{At: at, Erase: true} }

	p := fold([]Fact{say(1, "", "d1"), say(2, "c1", "")})
	assert.Equal(t, "c1", p.IDCard.Value, "a device seen in one event and a card seen in the next come out together")
	assert.Equal(t, "d1", p.DeviceID.Value)

	p = fold([]Fact{say(5, "c1", ""), say(3, "c2", ""), say(5, "c0", "")})
	assert.Equal(t, "c1", p.IDCard.Value, "the latest counts; at a tie the greater string")

	assert.False(t, fold([]Fact{say(5, "c", "d"), erase(5)}).known(), "what is as old as the erasure is forgotten")
	assert.False(t, fold([]Fact{erase(5), say(4, "c", "d")}).known(), "also when it comes later")
	p = fold([]Fact{say(1, "c", "d"), erase(5), say(6, "", "e")})
	assert.True(t, p.known())
	assert.Empty(t, p.IDCard.Value, "an erased card does not come back")
	assert.True(t, fold([]Fact{say(0, "c", "d")}).known(), "1970 is a time like any other")
}
