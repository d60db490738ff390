package app_test

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// static returns the configuration of a static member with a directory of its own, and what it is assigned.
func static(t *testing.T, cfg millstream.Config, id string) (millstream.Config, *assignments) {
	cfg.InstanceID, cfg.StateDir, cfg.SessionTimeout = id, t.TempDir(), time.Minute
	assigned := &assignments{}
	cfg.Events = assigned.events()
	return cfg, assigned
}

func taskIDs(app *millstream.App) string {
	var ids []string
	for _, task := range app.Tasks() {
		ids = append(ids, task.ID)
	}
	return strings.Join(ids, " ")
}

// A static member that is started again within its session gets its tasks back, and nobody else has them meanwhile.
func TestStaticMember_RestartKeepsItsTasks(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		var leaves atomic.Int64
		b.Cluster().ControlKey(int16(kmsg.LeaveGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			leaves.Add(1)
			return nil, nil, false
		})
		top := simple(t)
		cfgs, assigned := [2]millstream.Config{}, [2]*assignments{}
		var members [2]*member
		for i, id := range []string{"a", "b"} {
			cfgs[i], assigned[i] = static(t, cfg, id)
			members[i] = start(t, top, cfgs[i])
			time.Sleep(20 * time.Second)
		}
		for restarted := range members { // the leader, and the other one: a coordinator treats them differently
			other := 1 - restarted
			had, others := taskIDs(members[restarted].App), taskIDs(members[other].App)
			require.Len(t, had, 3)
			require.Len(t, others, 3)
			members[restarted].stop()
			send(t, b, 0, "v")
			send(t, b, 1, "v")
			time.Sleep(45 * time.Second)
			assert.Equal(t, others, taskIDs(members[other].App))
			for _, a := range assigned {
				a.take()
			}
			members[restarted] = start(t, top, cfgs[restarted])
			time.Sleep(10 * time.Second)
			assert.Equal(t, had, taskIDs(members[restarted].App))
			assert.Equal(t, others, taskIDs(members[other].App))
			assert.EqualValues(t, 1, members[restarted].Stats().RecordsIn, "what has waited is processed")
			assert.Empty(t, slices.DeleteFunc(assigned[other].take(), func(tasks string) bool { return tasks == others }))
		}
		assert.Equal(t, map[string]int64{"0": 2, "1": 2}, latest(t, b, "counts"))
		for _, m := range members {
			m.stop()
		}
		assert.Zero(t, leaves.Load())
		assert.Len(t, b.Cluster().GroupInfo("app").Members, 2)
	})
}

// The tasks of a static member that does not come back go to others when its session has ended.
func TestStaticMember_DoesNotComeBack(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		top := simple(t)
		first, _ := static(t, cfg, "a")
		second, _ := static(t, cfg, "b")
		a := start(t, top, first)
		time.Sleep(20 * time.Second)
		other := start(t, top, second)
		time.Sleep(20 * time.Second)
		a.stop()
		time.Sleep(30 * time.Second)
		assert.Len(t, other.Tasks(), 1)
		time.Sleep(time.Minute)
		assert.Len(t, other.Tasks(), 2)
		other.stop()
	})
}

// Two processes with one id: the earlier one has lost its tasks and says so, and the later one goes on.
func TestStaticMember_SameID(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		top := simple(t)
		cfg, _ = static(t, cfg, "pod-7")
		first := start(t, top, cfg)
		send(t, b, 0, "v")
		await(t, b, "counts", 1)
		time.Sleep(time.Second)
		cfg, _ = static(t, cfg, "pod-7")
		second := start(t, top, cfg)
		err := <-first.done
		require.ErrorContains(t, err, `another process has joined the group with the same Config.InstanceID, "pod-7"`)
		assert.Equal(t, millstream.Failed, first.State())
		send(t, b, 0, "v")
		send(t, b, 1, "v")
		time.Sleep(30 * time.Second)
		require.NoError(t, second.Ready())
		assert.Equal(t, map[string]int64{"0": 2, "1": 1}, latest(t, b, "counts"))
		second.stop()
	})
}

func TestStaticMember_InvalidID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1))
		for _, id := range []string{"a b", "..", strings.Repeat("x", 250)} {
			cfg := config(t, b)
			cfg.InstanceID = id
			_, err := millstream.New(simple(t), cfg)
			require.ErrorContains(t, err, "Config.InstanceID is")
		}
	})
}

// A coordinator notices another process with the same id by the id in each request.
func TestStaticMember_RequestsHaveTheID(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		var mu sync.Mutex
		with, without := map[string]bool{}, map[string]bool{}
		b.Cluster().Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			var id *string
			switch r := r.(type) {
			case *kmsg.JoinGroupRequest:
				id = r.InstanceID
			case *kmsg.SyncGroupRequest:
				id = r.InstanceID
			case *kmsg.HeartbeatRequest:
				id = r.InstanceID
			case *kmsg.OffsetCommitRequest:
				id = r.InstanceID
			case *kmsg.TxnOffsetCommitRequest:
				id = r.InstanceID
			default:
				return nil, nil, false
			}
			mu.Lock()
			defer mu.Unlock()
			if name := kmsg.NameForKey(r.Key()); id != nil && *id == "pod-7" {
				with[name] = true
			} else {
				without[name] = true
			}
			return nil, nil, false
		})
		cfg, _ = static(t, cfg, "pod-7")
		m := start(t, simple(t), cfg)
		send(t, b, 0, "v")
		await(t, b, "counts", 1)
		time.Sleep(10 * time.Second)
		m.stop()
		want := map[string]bool{"JoinGroup": true, "SyncGroup": true, "Heartbeat": true, "OffsetCommit": true}
		if cfg.Guarantee == millstream.ExactlyOnce {
			want["TxnOffsetCommit"] = true
		}
		assert.Equal(t, want, with)
		assert.Empty(t, without)
	})
}
