package table_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

func TestIdleAfter_ClosesWindowsByTheWallClock(t *testing.T) {
	for _, tt := range []struct {
		w           window.Any
		first, next string
	}{
		{tumbling(0).OnClose().IdleAfter(time.Second), "a[0,10]=1@3", "b[100,110]=3@105"},
		{window.Sliding(ms(10)).OnClose().IdleAfter(time.Second), "a[0,10]=1@3", "b[95,105]=3@105"},
		{window.Sessions(ms(10)).OnClose().IdleAfter(time.Second), "a[3,3]=1@3", "b[105,105]=3@105"},
	} {
		for name, crash := range map[string]func(*testdriver.Driver){"": func(*testdriver.Driver) {}, "restart": (*testdriver.Driver).Restart, "disk lost": (*testdriver.Driver).Wipe} {
			t.Run(fmt.Sprintf("%T %s", tt.w, name), func(t *testing.T) {
				b := stream.NewBuilder()
				shown(joinedIn(b, tt.w))
				top, err := b.Build()
				require.NoError(t, err)
				d := testdriver.New(t, top, testdriver.StartAt(time.UnixMilli(0)))
				testdriver.Input(d, texts).At(time.UnixMilli(3)).Header("h", nil).Send("a", "1")
				d.Advance(900 * time.Millisecond)
				assert.Empty(t, taken(d, results))
				d.Advance(200 * time.Millisecond) // to 1100: stream time is 100
				assert.Equal(t, tt.first, taken(d, results))
				assert.Empty(t, d.Raw("results")[0].Headers, "no record has closed it")
				crash(d)
				send(d, texts, "b=2@50", "b=3@105")
				d.Advance(800 * time.Millisecond)
				assert.Empty(t, taken(d, results), "what comes now is late, and was not sent before")
				assert.Equal(t, map[string]int{tooLate: 1}, d.Dropped())
				d.Advance(2 * time.Second)
				assert.Equal(t, tt.next, taken(d, results))
				d.Advance(time.Hour)
				send(d, texts, "c=4@2900")
				assert.Empty(t, taken(d, results), "stream time moves only to close something")
				assert.Equal(t, map[string]int{tooLate: 1}, d.Dropped())
			})
		}
	}
}

// A session that has grown closes later than the one that it was: until then the wall clock moves no stream time, and nothing is late.
func TestIdleAfter_SessionsThatHaveGrown(t *testing.T) {
	b := stream.NewBuilder()
	shown(joinedIn(b, window.Sessions(ms(10)).Grace(ms(5)).OnClose().IdleAfter(ms(16))))
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.StartAt(time.UnixMilli(86)))
	send(d, texts, "b=1@70", "b=2@72")
	d.Advance(16 * time.Millisecond) // 86 is past the end of the session of 70 alone, and not of both
	send(d, texts, "a=3@59")
	assert.Empty(t, d.Dropped())
	d.Advance(time.Second)
	assert.Equal(t, "a[59,59]=3@59 b[70,72]=12@72", taken(d, results))
}

func ExampleCountWindows_idleAfter() {
	b := stream.NewBuilder()
	w := window.Tumbling(10 * time.Minute).OnClose().IdleAfter(time.Minute)
	printWindows(table.CountWindows(stream.GroupByKey(stream.From(b, clicks)), w, "clicks"))
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	d := testdriver.New(show{}, top, testdriver.StartAt(minute(3)))
	testdriver.Input(d, clicks).Send("ann", "home")
	d.Advance(7 * time.Minute) // 10:10, when the window ends
	fmt.Println("not yet")
	d.Advance(time.Minute)
	// Output:
	// not yet
	// ann 10:00 10:10 1
}
