package task_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestQueue_LowestTimeFirst(t *testing.T) {
	r := start(t, merged)
	r.run(t, batch("left", 0, "l=1@1", "l=2@4", "l=3@4", "l=4@9"), batch("right", 0, "r=1@2", "r=2@3", "r=3@4", "r=4@20"))
	assert.Equal(t, []string{
		"out[0] l=1@1", "out[0] r=1@2", "out[0] r=2@3", "out[0] l=2@4", "out[0] r=3@4", "out[0] l=3@4", "out[0] l=4@9", "out[0] r=4@20",
	}, r.out.drain(), "at equal times the queue that has waited longer")
}
