package command

import (
	"fmt"
	"os"
	"strings"
	"time"

	"flowtally/calendar"
)

// zoneFlag is --zone: whose clock is meant. Answers say it, so it has a name that means the
// same elsewhere.
type zoneFlag struct{ *time.Location }

// zoneUsage is the help of --zone.
const zoneUsage = "whose times, days, weeks and months are meant where a time says no zone: UTC, local, or a name such as Europe/Berlin"

// newZone is UTC, which is meant unless something else is said.
func newZone() zoneFlag { return zoneFlag{time.UTC} }

// Set reads local, UTC or a name of the IANA time zone database.
func (z *zoneFlag) Set(name string) (err error) {
	if strings.EqualFold(strings.TrimSpace(name), "local") {
		z.Location, err = localZone(os.Getenv("TZ"), "/etc/localtime")
		return err
	}
	z.Location, err = calendar.Zone(name)
	return err
}

// Type says what the flag takes.
func (*zoneFlag) Type() string { return "zone" }

// now is the time, in the zone.
func (z *zoneFlag) now() time.Time { return time.Now().In(z.Location) }

// localZone is the zone of this machine by its name: of the variable TZ, else of the file
// that the link leads to.
func localZone(tz, link string) (*time.Location, error) {
	if tz = strings.TrimPrefix(tz, ":"); tz != "" {
		zone, err := calendar.Zone(tz)
		if err != nil {
			return nil, fmt.Errorf("local: TZ=%w", err)
		}
		return zone, nil
	}
	target, err := os.Readlink(link)
	if os.IsNotExist(err) {
		return time.UTC, nil // as everything else on such a machine
	}
	if _, name, ok := strings.Cut(target, "/zoneinfo/"); ok {
		if zone, err := calendar.Zone(name); err == nil {
			return zone, nil
		}
	}
	return nil, fmt.Errorf("local: this machine does not say what its zone is called (%s is no link to a zone): name it, as Europe/Berlin", link)
}
