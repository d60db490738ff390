package partitioner_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/kafka/partitioner"
)

// The values of Kafka's own UtilsTest.testMurmur2.
func TestMurmur2_EqualsJava(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		assert.Equal(t, want, int32(partitioner.Murmur2([]byte(key))), key)
	}
}

func TestForKey_IsNeverNegative(t *testing.T) {
	for i := range 1000 {
		p := partitioner.ForKey(fmt.Append(nil, i), 7)
		assert.GreaterOrEqual(t, p, int32(0))
		assert.Less(t, p, int32(7))
	}
}

func TestSticky_StaysForABatch(t *testing.T) {
	s := partitioner.NewSticky(2)
	var got []int32
	for range 8 {
		got = append(got, s.Next(3, 8<<10))
	}
	assert.Equal(t, []int32{2, 2, 0, 0, 1, 1, 2, 2}, got)
}

func ExampleForKey() {
	fmt.Println(partitioner.ForKey([]byte("foobar"), 4))
	// Output: 2
}
