package command

import (
	"fmt"
	"os"
	"strings"
	"time"

	"flowtally/calendar"
)

// zones are whose clock is meant: local, UTC, or a name of the IANA time zone database.
// Answers say it, so it has a name that means the same elsewhere.
var zones = kind[*time.Location]{
	name: "zone", wants: "UTC, local, or a name of the IANA time zone database such as Europe/Berlin",
	read: func(name string) (*time.Location, error) {
		if strings.EqualFold(strings.TrimSpace(name), "local") {
			return localZone(os.Getenv("TZ"), "/etc/localtime")
		}
		zone, err := calendar.Zone(name)
		if err != nil || strings.TrimSpace(name) == "" {
			return nil, errWanted
		}
		return zone, nil
	},
	words: func(string) []string { return []string{"UTC", "local"} },
}

// zoneUsage is the help of --zone.
const zoneUsage = "whose times, days, weeks and months are meant where a time says no zone: UTC, local, or a name such as Europe/Berlin"

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
