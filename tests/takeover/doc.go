// Package takeover has no code but its tests: one program on Kafka Streams (the folder java) and on Millstream. They
// take an application over from each other on a real Kafka, and run side by side.
package takeover
