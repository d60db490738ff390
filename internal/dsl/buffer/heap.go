package buffer

import "errors"

var errRowMissing = errors.New("the row does not exist: other code has written to the store")

// heap has the entry that is due first at its root. It is container/heap without boxing an entry at
// each push.
type heap []entry

func (h heap) init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *heap) push(e entry) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

// shrinkAbove is the capacity above which a heap that has become mostly empty is reallocated.
const shrinkAbove = 1024

func (h *heap) pop() entry {
	s := *h
	first, last := s[0], len(s)-1
	s[0], s[last] = s[last], entry{}
	s = s[:last]
	s.down(0)
	if cap(s) > shrinkAbove && len(s) < cap(s)/4 {
		s = append(make(heap, 0, cap(s)/2), s...)
	}
	*h = s
	return first
}

func (h heap) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if r := least + 1; r < len(h) && h[r].before(h[least]) {
			least = r
		}
		if !h[least].before(h[i]) {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
