// Package chaos has no code but its tests: a bank in processes of their own on a real Kafka, which are killed, frozen,
// added and removed, whose disks are full, wiped or set back, and whose broker is killed and frozen.
package chaos
