package main

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// Message is a record for one of the inputs.
type Message struct {
	Table bool   // a registration; else an event
	Key   string // empty: none, as the inputs need no keys
	Value []byte // nil: null
	Time  time.Time
}

// Step is a part of the story: what happens, and the message that says so.
type Step struct {
	Text string
	Message
}

// story is what a person can follow on the terminal, from start on. The second step joins a device
// ID seen in one event with an ID card seen in the next, which mapping mode cannot do.
func story(start time.Time) []Step {
	at := start
	say := func(table bool, text string, v map[string]string) Step {
		at = at.Add(time.Second)
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // a map of strings cannot fail
		}
		return Step{Text: text, Message: Message{Table: table, Value: b, Time: at}}
	}
	return []Step{
		say(false, "Linh looks around on her phone: the event has its device ID.",
			map[string]string{"phone": "0901-111", "deviceId": "linhs-phone", "page": "/loans"}),
		say(true, "She registers on a tablet with her ID card. Her profile is complete now, though no message had all of it.",
			map[string]string{"phone": "0901-111", "idCard": "ID-7001"}),
		say(true, "Minh registers in a branch with his ID card: no device is known.",
			map[string]string{"phone": "0902-222", "idCard": "ID-7002"}),
		say(false, "Somebody looks around without saying who it is: counted and skipped.",
			map[string]string{"deviceId": "unknown-device"}),
		say(false, "Linh buys on a computer. The latest device counts.",
			map[string]string{"phone": "0901-111", "deviceId": "linhs-computer", "order": "42"}),
		say(false, "Minh opens the app for the first time: complete.",
			map[string]string{"phone": "0902-222", "deviceId": "minhs-phone"}),
	}
}

// generate makes the messages of n customers from a seed: the same ones for the same seed, but for
// the time they start at. Four of five customers come to be complete by registering and by events;
// the others never say some identifier, and every twentieth message is of somebody without a phone.
func generate(n int, seed uint64, start time.Time) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		rnd := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // made-up customers need no secrets
		sent := 0
		send := func(table bool, v IDs) bool {
			sent++
			b, err := idsSerde.Append(nil, v)
			return err == nil && yield(Message{Table: table, Value: b, Time: start.Add(time.Duration(sent) * time.Millisecond)})
		}
		for i := range n {
			for _, v := range customer(i, rnd) {
				if !send(v.DeviceID == "", v) {
					return
				}
			}
			if rnd.IntN(5) == 0 && !send(false, IDs{DeviceID: fmt.Sprintf("nobody-%d", i)}) {
				return
			}
		}
	}
}

// customer makes what one customer says, in random order: a registration, and one to three events.
func customer(i int, rnd *rand.Rand) []IDs {
	phone, kind := fmt.Sprintf("09%08d", i), rnd.IntN(10)
	var said []IDs
	if kind != 0 {
		said = append(said, IDs{Phone: phone, IDCard: fmt.Sprintf("ID-%d", i)})
	}
	if kind != 1 {
		for d := range 1 + rnd.IntN(3) {
			said = append(said, IDs{Phone: phone, DeviceID: fmt.Sprintf("device-%d-%d", i, d)})
		}
	}
	rnd.Shuffle(len(said), func(a, b int) { said[a], said[b] = said[b], said[a] })
	return said
}
