package invariant_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/invariant"
)

func TestFail_NamesTheRule(t *testing.T) {
	assert.PanicsWithValue(t, "millstream: broken invariant: epoch 3 settled twice", func() {
		invariant.Fail("epoch %d settled twice", 3)
	})
}
