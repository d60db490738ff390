package operator

import (
	"encoding/binary"
	"errors"
)

// A list of values of any length, as Kafka's ListSerde writes it: a byte that says so, the number
// of elements, and each with its length.
const (
	variableSize = 1
	listHeader   = 5
)

var emptyList = []byte{variableSize, 0, 0, 0, 0}

var errNotAList = errors.New("it is not a list of values")

// listElements returns the encoded elements of a list, and their number.
func listElements(list []byte) (elements []byte, n uint32, err error) {
	if len(list) < listHeader || list[0] != variableSize {
		return nil, 0, errNotAList
	}
	return list[listHeader:], binary.BigEndian.Uint32(list[1:]), nil
}

// nextElement splits the first element off.
func nextElement(elements []byte) (first, rest []byte, err error) {
	if len(elements) < 4 {
		return nil, nil, errNotAList
	}
	n, rest := binary.BigEndian.Uint32(elements), elements[4:]
	if uint64(n) > uint64(len(rest)) {
		return nil, nil, errNotAList
	}
	return rest[:n], rest[n:], nil
}

// appendToList appends an element, a byte and a value, to a list and increments its count.
func appendToList(list []byte, first byte, value []byte) ([]byte, error) {
	_, n, err := listElements(list)
	if err != nil {
		return list, err
	}
	binary.BigEndian.PutUint32(list[1:], n+1)
	list = binary.BigEndian.AppendUint32(list, uint32(1+len(value)))
	return append(append(list, first), value...), nil
}
