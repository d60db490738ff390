package mailbox_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/runtime/mailbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMailbox_KeepsOrderOfEachWriter(t *testing.T) {
	m := mailbox.New[[2]int]()
	const writers, each = 4, 1000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				m.Put([2]int{w, i})
			}
		})
	}
	var next [writers]int
	var taken [][2]int
	for n := 0; n < writers*each; {
		<-m.Ready()
		taken = m.Drain(taken)
		for _, x := range taken {
			require.Equal(t, next[x[0]], x[1])
			next[x[0]]++
		}
		n += len(taken)
	}
	wg.Wait()
}

func TestMailbox_TakesNothingTwice(t *testing.T) {
	m := mailbox.New[int]()
	m.Put(1)
	m.Put(2)
	first := m.Drain(nil)
	assert.Equal(t, []int{1, 2}, first)
	assert.Empty(t, m.Drain(nil))
	m.Put(3)
	assert.Equal(t, []int{3}, m.Drain(first))
}
