package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"quorate/limiter/codec"
)

// section is the kind of the records in a block.
type section uint8

// The sections. The numbers are on disk: append only. Backups contain the sections below
// 32, snapshots all sections.
const (
	secTime     section = 1 // the log's time, and the time of the newest forgotten key
	secPolicy   section = 2
	secAccounts section = 3
	secKeys     section = 4
	secTokens   section = 5
	// Accounts and keys of nanoVersion: their amounts are nano-dollars, those of the
	// sections above are micro-dollars. A program of an earlier version refuses them.
	secNanoAccounts section = 6
	secNanoKeys     section = 7
	// Keys of settlements, and the time of the newest that is forgotten.
	secSettleTime section = 8
	secSettleKeys section = 9

	secCluster section = 32 // id, command version, running hash, last restore
	secOwners  section = 33
	secStage   section = 34 // a restore in progress
	secStaged  section = 35 // a block of that restore
	secAudit   section = 36 // oldest first
	secRemoved section = 37 // ids of removed nodes
	secSetting section = 38 // settings of the cluster that the log has
	secSecret  section = 39 // key of the ids of reservations
)

const (
	// blockBytes is the size at which a block is full. It is small, because a restore
	// proposes one log entry per block: a follower that takes long to store an entry
	// misses heartbeats.
	blockBytes = 64 << 10
	// maxBlock is the maximum size of a block; a policy is a single record.
	maxBlock = MaxPolicy + blockBytes
)

// The first bytes of a snapshot and of a backup; the last is the version.
const (
	snapshotMagic = "quorateS\x03"
	backupMagic   = "quorateB\x01"
)

// blocks collects records into blocks and calls emit for each block. The block is valid
// until emit returns.
type blocks struct {
	emit func(block []byte) error
	of   section
	n    int
	w    *codec.Writer
	head []byte
}

func newBlocks(emit func([]byte) error) *blocks {
	return &blocks{emit: emit, w: codec.NewWriter()}
}

// record adds a record to a section.
func (b *blocks) record(of section, write func(w *codec.Writer)) {
	if of != b.of {
		b.flush()
		b.of = of
	}
	write(b.w)
	if b.n++; b.w.Len() >= blockBytes {
		b.flush()
	}
}

// flush emits the current block and returns the first error.
func (b *blocks) flush() error {
	if records, err := b.w.Finish(); b.n > 0 && err == nil {
		b.head = binary.BigEndian.AppendUint32(append(b.head[:0], byte(b.of)), uint32(b.n))
		b.head = append(b.head, records...)
		b.w.Fail(b.emit(b.head))
	}
	b.n = 0
	b.w.Truncate(0)
	return b.w.Err()
}

// blockHead is the length of a block's header in bytes.
const blockHead = 5

// readBlock calls read for each record of a block.
func readBlock(block []byte, read func(of section, r *codec.Reader) error) error {
	if len(block) < blockHead {
		return errors.New("a block without a head")
	}
	of, n := section(block[0]), binary.BigEndian.Uint32(block[1:])
	r := codec.NewReader(block[blockHead:])
	for range n {
		if r.Left() == 0 {
			return errors.New("fewer records in a block than its header says")
		}
		err := read(of, r)
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return fmt.Errorf("section %d: %w", of, err)
		}
	}
	return r.End()
}

// fileWriter writes blocks to a file, each preceded by its length.
type fileWriter struct {
	to  *bufio.Writer
	sum *xxhash.Digest
}

func newFileWriter(to io.Writer, magic string) (*fileWriter, error) {
	f := &fileWriter{sum: xxhash.New()}
	f.to = bufio.NewWriterSize(io.MultiWriter(to, f.sum), 64<<10)
	_, err := f.to.WriteString(magic)
	return f, err
}

func (f *fileWriter) block(b []byte) error {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(b)))
	_, err := f.to.Write(length[:])
	if err == nil {
		_, err = f.to.Write(b)
	}
	return err
}

// end writes the final length, 0, and then, to raw, the checksum of all bytes before.
func (f *fileWriter) end(raw io.Writer) error {
	if err := f.block(nil); err != nil {
		return err
	}
	if err := f.to.Flush(); err != nil {
		return err
	}
	_, err := raw.Write(binary.BigEndian.AppendUint64(nil, f.sum.Sum64()))
	return err
}

// readFile calls each for every block of a file, and returns nil if the file is complete
// and its checksum matches. It calls each before it has verified the checksum.
func readFile(from io.Reader, magic string, each func(block []byte) error) error {
	sum := xxhash.New()
	in := io.TeeReader(bufio.NewReaderSize(from, 64<<10), sum)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(in, head); err != nil {
		return fmt.Errorf("read the header: %w", err)
	}
	last := len(magic) - 1
	switch {
	case string(head[:last]) != magic[:last]:
		return errors.New("it has another format")
	case head[last] != magic[last]:
		return fmt.Errorf("it has version %d, this program reads version %d: %w", head[last], magic[last], ErrUnknownCommand)
	}
	var length [4]byte
	var block []byte
	for {
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return truncated(err)
		}
		n := binary.BigEndian.Uint32(length[:])
		if n > maxBlock {
			return fmt.Errorf("a block of %d bytes, at most %d", n, maxBlock)
		}
		if n == 0 {
			break
		}
		if uint32(cap(block)) < n {
			block = make([]byte, n)
		}
		block = block[:n]
		if _, err := io.ReadFull(in, block); err != nil {
			return truncated(err)
		}
		if err := each(block); err != nil {
			return err
		}
	}
	want := sum.Sum64()
	var got [8]byte
	if _, err := io.ReadFull(in, got[:]); err != nil {
		return truncated(err)
	}
	if binary.BigEndian.Uint64(got[:]) != want {
		return errors.New("the checksum differs")
	}
	if n, err := in.Read(length[:1]); n > 0 || err != io.EOF {
		return errors.New("it continues after its end")
	}
	return nil
}

// truncated replaces the errors io.EOF and io.ErrUnexpectedEOF.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is truncated")
	}
	return err
}
