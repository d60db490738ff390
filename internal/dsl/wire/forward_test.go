package wire_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

func TestComplete(t *testing.T) {
	src, now := topology.Source{Topic: "in"}, time.UnixMilli(5)
	r := wire.Complete(topology.Record[string, int]{Key: "k", NoKey: true, Value: 1, Tombstone: true}, now, src)
	assert.Equal(t, topology.Record[string, int]{NoKey: true, Tombstone: true, Time: now}.From(src), r)
	r = wire.Complete(topology.Record[string, int]{Time: time.UnixMicro(1999)}, now, src)
	assert.Equal(t, time.UnixMilli(1), r.Time)
}
