// Package serde turns keys and values into bytes and back. It has the basic types in Kafka Streams'
// formats, JSON, lists, serdes made of functions, and a registry that finds a serde by type.
// docs/format/serdes.md shows every byte.
//
//	users := stream.NewTopic("users", serde.String, serde.JSON[User]())
//
// Serdes do not express absence. A record has flags for an absent key or value, and only these
// flags mean absent: an absent key or value is neither appended nor decoded, and whatever Append
// returns is present, even if it added no byte.
package serde

// Serde turns values of type T into bytes and back. Implementations must be safe for concurrent use
// by several goroutines.
type Serde[T any] interface {
	// Append appends the encoding of v to dst and returns the extended slice. It must not keep dst,
	// and on an error what it returns is ignored. It is called for present values only.
	Append(dst []byte, v T) ([]byte, error)
	// Decode returns the value that b encodes. It must neither keep nor change b, which belongs to a
	// fetched batch or to a store; only Bytes keeps it, and says so. It is never called for null, so b
	// is never nil.
	Decode(b []byte) (T, error)
}

// Bound is a Serde that differs from topic to topic, like those of schema registries. Bind is
// called once for each topic and side, when the topology is built or wired, and the serde that it
// returns is used there. Append and Decode of the Bound itself are used where there is no topic.
type Bound[T any] interface {
	Serde[T]
	// Bind returns the serde for the keys (isKey) or the values of topic.
	Bind(topic string, isKey bool) (Serde[T], error)
}
