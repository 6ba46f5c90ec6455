package storage

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

// stableKeys are the keys of the stable store, with the minimum and maximum size of
// their values. Any other key is a name that was damaged: the value of the right key
// would count as never written. A release that writes a new key must follow one that
// knows it, or a downgrade would be refused.
var stableKeys = map[string]struct{ least, most int }{
	string(keyCurrentTerm):   {8, 8},
	string(keyVoteTerm):      {8, 8},
	string(keyVoteCandidate): {0, maxValue},
	string(keyVote):          {8, maxValue},
	string(keyClusterID):     {1, maxValue},
}

// maxValue is far above the size of an id, or of the address in an old vote.
const maxValue = 4 << 10

// verifyLog reads raft.db with plain reads, before bbolt maps it: some damage makes
// bbolt panic, fault or loop, and other damage it does not notice. verifyLog changes
// nothing, and excludes writers while it runs. A missing or empty file is valid. The
// error wraps ErrLogDamaged if the file is damaged.
func verifyLog(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return err // for a file that is not regular, opening it returns the error
	}
	// Opening the file for reading takes bbolt's lock. It maps the file, but reads only
	// the first two pages.
	var file *os.File
	db, err := bbolt.Open(path, 0, &bbolt.Options{
		ReadOnly: true, Timeout: lockTimeout,
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

// openError distinguishes damage from the reasons for which an undamaged file cannot
// be opened: the lock, and errors of the operating system.
func openError(err error) error {
	var errno syscall.Errno
	var path *fs.PathError
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return ErrInUse
	case errors.As(err, &errno), errors.As(err, &path):
		return err
	}
	return fmt.Errorf("%w: %w", ErrLogDamaged, err)
}

func checkPages(file *os.File, length int64) error {
	err := boltcheck.Check(file, length, func(bucket string, key, value []byte) error {
		switch bucket {
		case bucketLogs:
			// Raft-boltdb's decoder allocates as much as a length claims.
			if err := codec.Whole(value); err != nil {
				return fmt.Errorf("%w: entry %x: %w", ErrLogDamaged, key, err)
			}
			if len(key) != 8 {
				return fmt.Errorf("%w: entry %x", ErrLogDamaged, key)
			}
		case bucketConf:
			if size, known := stableKeys[string(key)]; !known || len(value) < size.least || len(value) > size.most {
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
