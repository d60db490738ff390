package run_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/run"
)

// creator returns a MergeOptions.Create that numbers files from 100.
func creator(dir string) func() (*run.Builder, error) {
	next := uint64(100)
	return func() (*run.Builder, error) {
		next++
		id := run.Identity{Store: "merged", Sequence: next}
		return run.Create(filepath.Join(dir, fmt.Sprintf("%06d.run", next)), id, run.Options{PageSize: 1024, NoSync: true})
	}
}

func mergeAll(dir string, inputs []run.Input, o run.MergeOptions) (outputs []run.Output, err error) {
	o.Create = creator(dir)
	m, err := run.NewMerge(inputs, o)
	for err == nil {
		out, ok, e := m.Output()
		if err = e; err != nil || !ok {
			break
		}
		outputs = append(outputs, out)
	}
	return outputs, err
}

// newest returns the rows of models, the newest first, as a reader of all of them sees them.
func newest(models ...rows) rows {
	all := rows{}
	for i := len(models) - 1; i >= 0; i-- {
		maps.Copy(all, models[i])
	}
	return all
}

func (r rows) withoutTombstones() rows {
	r = maps.Clone(r)
	maps.DeleteFunc(r, func(_, v string) bool { return v == deleted })
	return r
}

// filesOf writes a model as a run of several files.
func filesOf(t testing.TB, rnd *rand.Rand, dir string, age int, model rows) (files run.Files) {
	keys := model.keys()
	for n := 0; len(keys) > 0; n++ {
		part := rows{}
		most := 1 + rnd.IntN(len(keys))
		for _, k := range keys[:most] {
			part[k] = model[k]
		}
		keys = keys[most:]
		path := filepath.Join(dir, fmt.Sprintf("%02d%04d.run", age, n))
		info := write(t, path, run.Identity{Store: "merged", Sequence: uint64(n)}, run.Options{PageSize: 1024}, part)
		files = append(files, run.File{Reader: open(t, path, info)})
	}
	return files
}

// openOutputs opens what a merge has returned.
func openOutputs(t testing.TB, dir string, outputs []run.Output) (files run.Files) {
	for _, out := range outputs {
		if out.Moved != nil {
			files = append(files, run.File{Reader: out.Moved})
			continue
		}
		files = append(files, run.File{Reader: open(t, filepath.Join(dir, fmt.Sprintf("%06d.run", out.Info.Sequence)), out.Info)})
	}
	for i := range files[1:] {
		require.Less(t, string(files[i].LargestKey()), string(files[i+1].SmallestKey()), "ranges are disjoint")
	}
	return files
}

// walks returns walks over what a merge has not merged yet.
func walks(inputs []run.Files, after []byte) (all []run.Input) {
	for _, files := range inputs {
		var rest run.Files
		for _, f := range files {
			if after == nil || bytes.Compare(f.LargestKey(), after) > 0 {
				rest = append(rest, run.File{Reader: f.Reader, After: after})
			}
		}
		w := &run.Walk{}
		w.Start(rest, storage.Range{}, true)
		all = append(all, w)
	}
	return all
}

func TestMerge_TheNewestRowOfEachKey(t *testing.T) {
	rnd := random(t)
	moved := 0
	// On until a file was moved: most rounds have one, and by chance none of 40 may.
	for round := 0; round < 40 || moved == 0; round++ {
		require.Less(t, round, 2000, "no file is ever moved")
		dir := t.TempDir()
		var models []rows
		var inputs []run.Files
		for age := range 1 + rnd.IntN(6) {
			model := randomRows(rnd, 1+rnd.IntN(600), rnd.IntN(3), 20)
			models = append(models, model)
			inputs = append(inputs, filesOf(t, rnd, dir, age, model))
		}
		o := run.MergeOptions{FileBytes: int64(1 + rnd.IntN(60_000)), Bottom: round%2 == 0}
		want := newest(models...)
		if o.Bottom {
			want = want.withoutTombstones()
		}
		if rnd.IntN(3) == 0 {
			from, to := []byte(randomKey(rnd, 1)), []byte(randomKey(rnd, 1))
			o.Expired = []memtable.Expiry{{From: from, To: to}}
			maps.DeleteFunc(want, func(k, _ string) bool { return k >= string(from) && k < string(to) })
		}
		if rnd.IntN(2) == 0 {
			o.Segment, o.SegmentBytes = firstByte, rnd.Int64N(8000)
		}
		outputs, err := mergeAll(dir, walks(inputs, nil), o)
		require.NoError(t, err)
		if len(want) == 0 {
			require.Empty(t, outputs)
			continue
		}
		files := openOutputs(t, dir, outputs)
		require.Equal(t, want.keys(), visited(t, files, storage.Range{}, want), "%d inputs, %+v", len(inputs), o)
		for i, out := range outputs {
			if out.Moved != nil {
				moved++
			} else if i < len(outputs)-1 && outputs[i+1].Moved == nil {
				ends := o.Segment != nil && firstByte(files[i].LargestKey()) != firstByte(files[i+1].SmallestKey())
				require.True(t, ends || out.Info.Length >= o.FileBytes)
			}
		}
		require.EqualValues(t, len(want.withoutTombstones()), files.Rows())
	}
}

// firstByte has segments of three classes: keys below '0', and those in which all that expire begin with one
// byte, the even ones and the odd ones.
func firstByte(key []byte) storage.Segment {
	if len(key) == 0 || key[0] < '0' {
		return storage.Segment{}
	}
	return storage.Segment{Class: 1 + key[0]%2, Number: int64(key[0])}
}

// TestMerge_FilesEndWithTheirSegments: rows of a file expire in one range, and together if they are enough for
// a file.
func TestMerge_FilesEndWithTheirSegments(t *testing.T) {
	rnd := random(t)
	for range 10 {
		dir := t.TempDir()
		var models []rows
		var inputs []run.Files
		for age := range 1 + rnd.IntN(4) {
			model := rows{"": stored(1, nil)}
			for range 200 + rnd.IntN(300) {
				key := fmt.Sprintf("%c%03d", "-25"[rnd.IntN(3)]+byte(rnd.IntN(2)), rnd.IntN(1000))
				model[key] = stored(1, make([]byte, 50))
			}
			models, inputs = append(models, model), append(inputs, filesOf(t, rnd, dir, age, model))
		}
		o := run.MergeOptions{FileBytes: 1 << 20, Segment: firstByte, SegmentBytes: rnd.Int64N(20_000)}
		outputs, err := mergeAll(dir, walks(inputs, nil), o)
		require.NoError(t, err)
		files := openOutputs(t, dir, outputs)
		want := newest(models...)
		require.Equal(t, want.keys(), visited(t, files, storage.Range{}, want))
		for i, f := range files {
			first, last := firstByte(f.SmallestKey()), firstByte(f.LargestKey())
			require.Equal(t, first.Class, last.Class)
			// A file also ends where one that is moved begins.
			if i > 0 && firstByte(files[i-1].LargestKey()).Class == first.Class && outputs[i-1].Moved == nil && outputs[i].Moved == nil {
				require.GreaterOrEqual(t, outputs[i-1].Info.Length, o.SegmentBytes)
				require.NotEqual(t, firstByte(files[i-1].LargestKey()), first, "neither full nor at the end of a segment")
			}
		}
	}
}

func TestMerge_OfAMemtableWithRuns(t *testing.T) {
	rnd, dir := random(t), t.TempDir()
	account := memtable.NewBudget(0).Open(false)
	table := memtable.NewTable(account, 1, false)
	require.NoError(t, table.Put([]byte("settled"), []byte("1"), 5))
	require.NoError(t, table.Put([]byte("both"), []byte("1"), 5))
	require.NoError(t, table.Delete([]byte("deleted"), 5))
	_, err := table.Cut(func(storage.Change) error { return nil })
	require.NoError(t, err)
	table.Settle(1)
	require.NoError(t, table.Put([]byte("both"), []byte("2"), 6))
	require.NoError(t, table.Put([]byte("unsettled"), []byte("2"), 6))
	older := rows{"deleted": stored(1, nil), "settled": stored(2, nil), "z": stored(3, []byte("z"))}
	files := filesOf(t, rnd, dir, 1, older)

	for settled, want := range map[bool]rows{
		false: {"settled": stored(5, []byte("1")), "both": stored(6, []byte("2")), "unsettled": stored(6, []byte("2")), "z": older["z"]},
		true:  {"settled": stored(5, []byte("1")), "both": stored(5, []byte("1")), "z": older["z"]},
	} {
		inputs := append([]run.Input{run.NewTable(table, settled)}, walks([]run.Files{files}, nil)...)
		outputs, err := mergeAll(dir, inputs, run.MergeOptions{FileBytes: 1 << 20, Bottom: true})
		require.NoError(t, err)
		require.Equal(t, want.keys(), visited(t, openOutputs(t, dir, outputs), storage.Range{}, want))
	}
	table.Undo()
	table.Release()
	account.Close()
}

// TestMerge_StopsAtEachFileAndGoesOn ends a merge after some of its files, and has another one go on
// behind what they have. Meanwhile the files and the rest of the inputs are all rows.
func TestMerge_StopsAtEachFileAndGoesOn(t *testing.T) {
	rnd := random(t)
	for range 15 {
		dir := t.TempDir()
		models := []rows{randomRows(rnd, 400, 1, 20), randomRows(rnd, 400, 1, 20), randomRows(rnd, 3000, 1, 0)}
		want := newest(models...).withoutTombstones()
		var inputs []run.Files
		for age, model := range models {
			inputs = append(inputs, filesOf(t, rnd, dir, age, model))
		}
		o := run.MergeOptions{FileBytes: 8000, Bottom: true, Create: creator(dir)}
		var outputs []run.Output
		var after []byte
		for done := false; !done; {
			m, err := run.NewMerge(walks(inputs, after), o)
			require.NoError(t, err)
			for range 1 + rnd.IntN(4) {
				out, ok, err := m.Output()
				require.NoError(t, err)
				after = m.After()
				if done = !ok; done {
					break
				}
				outputs = append(outputs, out)
			}
			checkHalf(t, rnd, dir, outputs, inputs, after, want)
		}
		require.Equal(t, want.keys(), visited(t, openOutputs(t, dir, outputs), storage.Range{}, want))
	}
}

// checkHalf reads through a merge that is not finished: its output first, then the inputs behind it.
func checkHalf(t *testing.T, rnd *rand.Rand, dir string, outputs []run.Output, inputs []run.Files, after []byte, want rows) {
	all := []run.Files{}
	if len(outputs) > 0 {
		all = append(all, openOutputs(t, dir, outputs))
	}
	for _, files := range inputs {
		var rest run.Files
		for _, f := range files {
			rest = append(rest, run.File{Reader: f.Reader, After: after})
		}
		all = append(all, rest)
	}
	for range 200 {
		key := randomKey(rnd, 1)
		got := ""
		for _, files := range all {
			if f := files.For([]byte(key)); f != nil && got == "" {
				row, state, err := f.Get(nil, []byte(key))
				require.NoError(t, err)
				got = text(row, state)
			}
		}
		if got == deleted {
			got = ""
		}
		require.Equal(t, want[key], got, "key %q", key)
	}
}

func TestMerge_CanBeStopped(t *testing.T) {
	rnd, dir := random(t), t.TempDir()
	files := filesOf(t, rnd, dir, 1, randomRows(rnd, 20_000, 0, 0))
	before, err := filepath.Glob(filepath.Join(dir, "*.run"))
	require.NoError(t, err)
	o := run.MergeOptions{FileBytes: 1 << 30, Create: creator(dir), Stopped: func() bool { return true }}
	m, err := run.NewMerge(walks([]run.Files{files}, nil), o)
	require.NoError(t, err)
	_, ok, err := m.Output()
	require.ErrorIs(t, err, run.ErrStopped)
	assert.False(t, ok)
	assert.Nil(t, m.After())
	left, err := filepath.Glob(filepath.Join(dir, "*.run"))
	require.NoError(t, err)
	assert.Equal(t, before, left)
}

// Keys that ascend with time are written once: files that no other run touches are moved.
func TestMerge_FilesThatNothingTouchesAreMoved(t *testing.T) {
	dir := t.TempDir()
	var inputs []run.Files
	for age := range 5 {
		model := rows{}
		for i := range 1000 {
			model[fmt.Sprintf("%d %05d", 9-age, i)] = stored(1, nil)
		}
		path := filepath.Join(dir, fmt.Sprintf("%06d.run", age))
		inputs = append(inputs, run.Files{{Reader: open(t, path, write(t, path, run.Identity{Store: "merged"}, run.Options{PageSize: 1024}, model))}})
	}
	outputs, err := mergeAll(dir, walks(inputs, nil), run.MergeOptions{FileBytes: 64 << 10, Bottom: true})
	require.NoError(t, err)
	require.Len(t, outputs, 5)
	for i, out := range outputs {
		assert.Same(t, inputs[4-i][0].Reader, out.Moved)
	}
	written, err := filepath.Glob(filepath.Join(dir, "0001*.run"))
	require.NoError(t, err)
	assert.Empty(t, written)
}

// TestMerge_AFaultOfAnInputIsItsDamage cuts an input off while the merge reads it.
func TestMerge_AFaultOfAnInputIsItsDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "000001.run")
	model := rows{}
	for i := range 300 {
		model[fmt.Sprintf("%05d", i)] = stored(1, make([]byte, 6000))
	}
	r := open(t, path, write(t, path, run.Identity{Store: "merged", Sequence: 1}, run.Options{PageSize: 16 << 10}, model))
	o := run.MergeOptions{FileBytes: 100_000, Create: creator(dir)}
	m, err := run.NewMerge(walks([]run.Files{{{Reader: r}}}, []byte{}), o)
	require.NoError(t, err)
	for n := 0; ; n++ {
		if n == 3 {
			require.NoError(t, os.Truncate(path, 0))
		}
		_, ok, err := m.Output()
		if err != nil {
			require.ErrorIs(t, err, storage.ErrDamaged)
			require.ErrorContains(t, err, path)
			require.Equal(t, err, r.Damaged())
			require.GreaterOrEqual(t, n, 3)
			return
		}
		require.True(t, ok, "the merge has read what is not there")
	}
}

// TestMerge_AKeyThatChangesUnderItIsDamage writes into a page after the merge has compared it with its checksum.
func TestMerge_AKeyThatChangesUnderItIsDamage(t *testing.T) {
	dir := t.TempDir()
	files, path := []run.Files{}, ""
	for i, first := range []byte{'b', 'c'} {
		path = filepath.Join(dir, fmt.Sprintf("%06d.run", i+1))
		model := rows{}
		for i := range 100 {
			model[fmt.Sprintf("%c%05d", first, i)] = stored(1, nil)
		}
		id := run.Identity{Store: "merged", Sequence: uint64(i + 1)}
		files = append(files, run.Files{{Reader: open(t, path, write(t, path, id, run.Options{}, model)), After: []byte{}}})
	}
	create := creator(dir)
	m, err := run.NewMerge(walks(files, []byte{}), run.MergeOptions{FileBytes: 1 << 20, Create: func() (*run.Builder, error) {
		// The key that the second input is at.
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("a"), int64(bytes.Index(b, []byte("c00000"))))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		return create()
	}})
	require.NoError(t, err)
	_, _, err = m.Output()
	require.ErrorIs(t, err, storage.ErrDamaged)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "out of order")
	require.ErrorIs(t, err, files[1][0].Damaged())
}
