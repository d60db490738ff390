package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// storyPause is the time between two steps of the story, for a person to follow it.
const storyPause = 2 * time.Second

// playStory feeds while the service runs: the story at a person's pace.
func (s *service) playStory(ctx context.Context) error {
	switch {
	case s.Generate > 0:
		return stopped(ctx, s.writeInputs(ctx))
	case !s.inProcess:
		return nil
	}
	for _, step := range story(time.Now()) {
		select {
		case <-time.After(storyPause):
		case <-ctx.Done():
			return nil
		}
		s.say("-> " + step.Text)
		step.Time = time.Now()
		if _, err := s.kafka.produceAll(ctx, s.Config, single(step.Message)); err != nil {
			return stopped(ctx, err)
		}
	}
	select {
	case <-time.After(storyPause):
		s.say("That was the story; the service goes on. Ctrl-C ends it.")
	case <-ctx.Done():
	}
	return nil
}

func single(m Message) iter.Seq[Message] {
	return func(yield func(Message) bool) { yield(m) }
}

func (s *service) writeInputs(ctx context.Context) (err error) {
	s.began = time.Now()
	switch {
	case s.Generate > 0:
		s.written, err = s.kafka.produceAll(ctx, s.Config, generate(s.Generate, s.Seed, s.began))
		s.began = time.Now()
	case s.inProcess:
		var messages []Message
		for _, step := range story(s.began.Add(-time.Minute)) {
			s.say("-> " + step.Text)
			messages = append(messages, step.Message)
		}
		s.written, err = s.kafka.produceAll(ctx, s.Config, slices.Values(messages))
	}
	return err
}

func (s *service) say(line string) {
	if !s.JSON {
		fmt.Fprintln(s.out, line)
	}
}

// progress prints a line a second while customers are being processed.
func (s *service) progress(ctx context.Context) (stop func()) {
	if s.Generate == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				complete, all, read := s.watch.complete()
				fmt.Fprintf(s.log, "%d updates of %d profiles, %d complete\n", read, all, complete)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}
