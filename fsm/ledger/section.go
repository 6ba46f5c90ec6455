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

// section says what the records of a block are.
type section uint8

// The sections. Append only: the numbers are on disks. Those below 32 are what
// a backup holds, the others are in snapshots alone.
const (
	secTime     section = 1 // the log's time, and that of the last key forgotten
	secPolicy   section = 2
	secAccounts section = 3
	secKeys     section = 4
	secTokens   section = 5

	secCluster section = 32 // id, command version, running hash, last restore
	secOwners  section = 33
	secStage   section = 34 // a restore under way: how far it is
	secStaged  section = 35 // a block of it
	secAudit   section = 36 // the oldest first
	secRemoved section = 37 // ids of nodes that were removed
)

const (
	// blockBytes is when a block is full. One is a restore's entry of the log, so
	// that it is small: a follower that takes long to store one misses heartbeats.
	blockBytes = 64 << 10
	// maxBlock bounds what is read; a policy is one record.
	maxBlock = MaxPolicy + blockBytes
)

// The first bytes of a snapshot and of a backup; the last is the version.
const (
	snapshotMagic = "quorateS\x03"
	backupMagic   = "quorateB\x01"
)

// blocks gathers records into blocks and hands each to emit, whose argument is
// good until it returns.
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

// flush hands over what was gathered and returns the first error.
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

// blockHead is the length of what stands before the records of a block.
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
			return errors.New("fewer records in a block than it says")
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

// fileWriter writes blocks to a file, each after its length.
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

// end writes the end, a length of 0, and to raw the checksum of all before.
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

// readFile hands each block of a file to each, and returns nil when the file is
// whole. Blocks are handed over before the checksum is known.
func readFile(from io.Reader, magic string, each func(block []byte) error) error {
	sum := xxhash.New()
	in := io.TeeReader(bufio.NewReaderSize(from, 64<<10), sum)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(in, head); err != nil {
		return fmt.Errorf("the first bytes: %w", err)
	}
	last := len(magic) - 1
	switch {
	case string(head[:last]) != magic[:last]:
		return errors.New("it does not begin like one")
	case head[last] != magic[last]:
		return fmt.Errorf("it is of version %d, this program reads version %d: %w", head[last], magic[last], ErrUnknownCommand)
	}
	var length [4]byte
	var block []byte
	for {
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return cutShort(err)
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
			return cutShort(err)
		}
		if err := each(block); err != nil {
			return err
		}
	}
	want := sum.Sum64()
	var got [8]byte
	if _, err := io.ReadFull(in, got[:]); err != nil {
		return cutShort(err)
	}
	if binary.BigEndian.Uint64(got[:]) != want {
		return errors.New("the checksum differs")
	}
	if n, err := in.Read(length[:1]); n > 0 || err != io.EOF {
		return errors.New("there are bytes after its end")
	}
	return nil
}

// cutShort says that a file ends before its end.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return err
}
