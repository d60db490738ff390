// Package damage has no code but its test: whole Apps, each in a process of its own and under load, whose files are damaged.
package damage
