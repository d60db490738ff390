package spec_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
)

func TestTableSerde_IsResolvedToThatOfItsTable(t *testing.T) {
	node := new(int)
	s := spec.TableSerde[int64]{Table: node, Serde: func() (serde.Serde[int64], error) { return serde.Int64, nil }}
	assert.Same(t, node, spec.TableOf[int64](s))
	resolved, err := spec.Resolve[int64](s)()
	require.NoError(t, err)
	assert.Equal(t, serde.Int64, resolved)

	b, err := s.Append([]byte{9}, 7)
	require.NoError(t, err)
	want, err := serde.Int64.Append([]byte{9}, 7)
	require.NoError(t, err)
	assert.Equal(t, want, b)
	v, err := s.Decode(b[1:])
	require.NoError(t, err)
	assert.EqualValues(t, 7, v)
}

func TestTableSerde_HasTheErrorOfItsTable(t *testing.T) {
	missing := errors.New("no serde")
	s := spec.TableSerde[int64]{Table: new(int), Serde: func() (serde.Serde[int64], error) { return nil, missing }}
	_, err := s.Append(nil, 7)
	assert.ErrorIs(t, err, missing)
	_, err = s.Decode(nil)
	assert.ErrorIs(t, err, missing)
}

func TestTableSerde_OtherSerdesAreOfNoTable(t *testing.T) {
	assert.Nil(t, spec.TableOf(serde.Int64))
	assert.Nil(t, spec.TableOf[int64](nil))
	s, err := spec.Resolve(serde.Int64)()
	require.NoError(t, err)
	assert.Equal(t, serde.Int64, s)
}
