package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"quorate/cluster/storage/boltcheck"
	"quorate/limiter/codec"
)

// The buckets of raft-boltdb.
const (
	bucketLogs = "logs"
	bucketConf = "conf"
)

// stable has what is kept beside the log, each with its fewest and its most bytes.
// Any other key is a name that was changed: what stood under the right one would
// count as never written. A release that writes one more must follow one that knows
// it, or there is no way back.
var stable = map[string]struct{ least, most int }{
	string(keyCurrentTerm): {8, 8},
	string(keyVoteTerm):    {8, 8},
	string(keyVoteCand):    {0, maxStable},
	string(keyVote):        {8, maxStable},
	string(keySeat):        {1, maxStable},
}

// maxStable is far beyond an id, or an address that an old vote is for.
const maxStable = 4 << 10

// verifyLog looks at raft.db as bytes, before bbolt does, which panics, faults or
// never ends at some of what damage leaves, and does not see other. It changes
// nothing, and keeps writers out meanwhile. No file, or one with nothing in it yet,
// is fine. Its error wraps ErrLogDamaged where damage is why.
func verifyLog(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return err // bbolt says what is wrong with it
	}
	// To open it for reading takes bbolt's lock, and maps the file, of which it
	// looks at no more than the first two pages.
	var file *os.File
	db, err := bbolt.Open(path, 0, &bbolt.Options{
		ReadOnly: true, Timeout: lockWait,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	if err != nil {
		return openError(err)
	}
	if info, err = file.Stat(); err == nil {
		err = checkPages(file, info.Size())
	}
	return errors.Join(err, db.Close())
}

// openError tells damage from what keeps a good file from being opened: that is
// the lock, and what the operating system says.
func openError(err error) error {
	var errno syscall.Errno
	var path *fs.PathError
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return errInUse
	case errors.As(err, &errno), errors.As(err, &path):
		return err
	}
	return fmt.Errorf("%w: %w", ErrLogDamaged, err)
}

func checkPages(file *os.File, length int64) error {
	err := boltcheck.Check(file, length, func(bucket string, key, value []byte) error {
		switch bucket {
		case bucketLogs:
			// Its decoder allocates what a length claims.
			if err := codec.Whole(value); err != nil {
				return fmt.Errorf("%w: entry %x: %w", ErrLogDamaged, key, err)
			}
			if len(key) != 8 {
				return fmt.Errorf("%w: entry %x", ErrLogDamaged, key)
			}
		case bucketConf:
			if size, known := stable[string(key)]; !known || len(value) < size.least || len(value) > size.most {
				return fmt.Errorf("%w: key %q of %d bytes", ErrLogDamaged, key, len(value))
			}
		default:
			return fmt.Errorf("%w: bucket %q", ErrLogDamaged, bucket)
		}
		return nil
	})
	if errors.Is(err, boltcheck.ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrLogDamaged, err)
	}
	return err
}
