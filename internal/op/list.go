package op

import (
	"encoding/binary"
	"errors"
)

// A list of values of any length, as Kafka's ListSerde writes it: a byte that says so, the number of elements, and each with its length.
const (
	variableSize = 1
	listHeader   = 5
)

var emptyList = []byte{variableSize, 0, 0, 0, 0}

var errNoList = errors.New("it is no list of values")

// openList returns the elements of a list and their number.
func openList(list []byte) (elements []byte, n uint32, err error) {
	if len(list) < listHeader || list[0] != variableSize {
		return nil, 0, errNoList
	}
	return list[listHeader:], binary.BigEndian.Uint32(list[1:]), nil
}

// nextOf takes the first of the elements of a list.
func nextOf(elements []byte) (first, rest []byte, err error) {
	if len(elements) < 4 {
		return nil, nil, errNoList
	}
	n, rest := binary.BigEndian.Uint32(elements), elements[4:]
	if uint64(n) > uint64(len(rest)) {
		return nil, nil, errNoList
	}
	return rest[:n], rest[n:], nil
}

// appendToList appends an element, made of a byte and a value, to the end of a list, which it counts.
func appendToList(list []byte, first byte, value []byte) ([]byte, error) {
	_, n, err := openList(list)
	if err != nil {
		return list, err
	}
	binary.BigEndian.PutUint32(list[1:], n+1)
	list = binary.BigEndian.AppendUint32(list, uint32(1+len(value)))
	return append(append(list, first), value...), nil
}
