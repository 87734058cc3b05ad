package bolt

import (
	"context"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// Backup writes a copy of the whole bbolt file to w, as it is at one instant
// between call and return. Backup first makes the copy in a temporary file and
// verifies the structure, so a slow w holds up nobody. If ctx is done before
// the end, Backup returns the error of ctx.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if err := s.backup(ctx, w); err != nil {
		return fmt.Errorf("bolt: backup of %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) backup(ctx context.Context, w io.Writer) error {
	spool, drop, err := newSpool(s.path)
	if err != nil {
		return err
	}
	defer drop()
	size, err := s.copyTo(ctx, spool)
	if err != nil {
		return err
	}
	if err := verify(spool, size); err != nil {
		return err
	}
	_, err = io.Copy(w, &patient{ctx, io.NewSectionReader(spool, 0, size)})
	return err
}

// patient is a reader that fails once its context is done.
type patient struct {
	ctx context.Context
	r   io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

// copyTo writes a copy of the file to spool. Only this part of a backup needs
// the store to be open.
func (s *Store) copyTo(ctx context.Context, spool *os.File) (size int64, err error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	err = s.transaction(false, func(tx *bbolt.Tx) (err error) {
		size, err = tx.WriteTo(&patientWriter{ctx, spool})
		return err
	})
	return size, err
}

// patientWriter is a writer that fails once its context is done.
type patientWriter struct {
	ctx context.Context
	w   io.Writer
}

func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}
