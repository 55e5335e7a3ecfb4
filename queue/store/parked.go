// SPDX-License-Identifier: Apache-2.0

package store

// AllParked calls f for every parked recipient.
func (s *Store) AllParked(f func(Entry) error) error {
	return s.scan([]byte{prefixParked}, nil, func(k, _ []byte) error {
		e, ok, err := s.entryOf(k)
		if err != nil || !ok {
			return err
		}
		return f(e)
	})
}

// Holds are the names that something is parked under.
func (s *Store) Holds() ([]string, error) {
	var list []string
	for from := []byte{prefixParked}; ; {
		name := ""
		err := s.scan([]byte{prefixParked}, from, func(k, _ []byte) error {
			if len(k) > 1+12 {
				name = string(k[1 : len(k)-13])
			}
			return errStop
		})
		if err != nil || name == "" {
			return list, err
		}
		list = append(list, name)
		from = append(append([]byte{prefixParked}, name...), 1) // behind all of it
	}
}

// Parked reads up to limit recipients that are parked under a name, behind an id.
func (s *Store) Parked(hold string, after ID, limit int) ([]Entry, error) {
	prefix := append(append([]byte{prefixParked}, hold...), 0)
	from := prefix
	if after != (ID{}) {
		from = append(appendID(append([]byte{}, prefix...), after), 0)
	}
	return s.entries(prefix, from, limit, func(e *Entry) bool { return e.Hold == hold })
}
