package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A planted is any of the defects, with how it is looked for.
type planted struct {
	kind, name string
	// find returns how the defect was found, nothing when it was not.
	find func(dir string) (how string, err error)
}

// all returns the defects of all lists. A defect of the simulation is to be found in 200 histories, a fault of an operator in 100.
func (l lists) all() []planted {
	var out []planted
	for _, m := range l.mutants {
		out = append(out, planted{"simulation", m.name, func(dir string) (string, error) {
			v, err := m.try(dir, 200)
			return v.how(), err
		}})
	}
	for _, p := range l.peers {
		out = append(out, planted{"test", p.name, p.try})
	}
	for _, w := range l.wrongs {
		out = append(out, planted{"oracle", w.oracle + ": " + w.fault, func(dir string) (string, error) {
			v, err := w.try(dir, 100)
			return v.how(), err
		}})
	}
	return out
}

// how says in which history a defect was found, and by what; nothing when it was not.
func (v verdict) how() string {
	if !v.found {
		return ""
	}
	return "history " + v.seed + " " + v.check
}

// runSample plants n defects that the seed draws from all lists, one at a time. All can be found, and a sample at each run sees to it
// that this stays so, for a small part of what the whole lists take.
func (l lists) runSample(dir string, n int, seed uint64) error {
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Printf("a sample of %d defects; -sample %d -seed %d draws the same\n", n, n, seed)
	defects := l.all()
	missed := 0
	for i, at := range rand.New(rand.NewPCG(seed, 0)).Perm(len(defects)) {
		if i == n {
			break
		}
		d, began := defects[at], time.Now()
		how, err := d.find(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		if how == "" {
			missed++
			how = "NOT FOUND"
		}
		fmt.Printf("%-10s %-70s %s (%v)\n", d.kind, d.name, how, time.Since(began).Round(time.Second))
	}
	if missed > 0 {
		return fmt.Errorf("%d defects were not found", missed)
	}
	return nil
}
