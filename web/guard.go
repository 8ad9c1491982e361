package web

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// contentSecurityPolicy lets the page load what this server serves and nothing
// else: no inline script or style, no other host. The page and its libraries
// set sizes and colours through the DOM, which is not inline style.
const contentSecurityPolicy = "default-src 'none'; " +
	"script-src 'self'; " +
	"style-src 'self'; " +
	"img-src 'self' data:; " +
	"connect-src 'self'; " +
	"worker-src 'none'; " +
	"manifest-src 'self'; " +
	"frame-ancestors 'none'; " +
	"base-uri 'none'; " +
	"form-action 'self'"

// maxBody is the largest request body taken, in bytes.
const maxBody = 1 << 20

// secureHeaders sets what every answer carries, errors and refusals too.
func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		next.ServeHTTP(w, r)
	})
}

// hostList is the set of names this server answers to. A page of another site
// can make its own name resolve to our address (DNS rebinding) and would then
// be "same origin" with us; its name in the Host header gives it away.
//
// The port is not compared: it differs behind a tunnel or a published container
// port, and a rebound name betrays itself without it.
type hostList struct {
	names []string
	// literals admits every IP address. It is set when we listen on all
	// addresses: a page whose origin is a literal address was served by that
	// address, so there is no name to rebind.
	literals bool
}

// newHostList returns the list for a server that listens on the given host
// (empty or unspecified: on all addresses). Extra names come without scheme;
// a port is ignored.
func newHostList(listen string, extra []string) (*hostList, error) {
	l := &hostList{names: []string{"localhost", "127.0.0.1", "::1"}}
	a, err := netip.ParseAddr(listen)
	switch {
	case listen == "" || err == nil && a.IsUnspecified():
		l.literals = true
	default:
		l.add(canonicalHost(listen))
	}
	for _, name := range extra {
		host := canonicalHost(name)
		if host == "" || strings.ContainsAny(name, "/*?#@ ,") || strings.Contains(host, ":") && !isLiteral(host) {
			return nil, fmt.Errorf("web: allowed host %q is not a host name: write it as flows.example.org, without http:// and path", name)
		}
		l.add(host)
	}
	return l, nil
}

func (l *hostList) add(host string) {
	if !slices.Contains(l.names, host) {
		l.names = append(l.names, host)
	}
}

// allows reports whether a request with this Host header is meant for us.
func (l *hostList) allows(header string) bool {
	host := canonicalHost(header)
	if host == "" {
		return false
	}
	return slices.Contains(l.names, host) || l.literals && isLiteral(host)
}

// AllowHosts returns a handler that refuses requests which came under a name that is not that
// of a server which listens on a host (empty: on all addresses), nor one of the extra ones.
// A name without a dot, as machines and containers have among themselves, is allowed too: no
// page of another site has one.
func AllowHosts(listen string, extra []string, next http.Handler) (http.Handler, error) {
	l, err := newHostList(listen, extra)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := canonicalHost(r.Host)
		if l.allows(r.Host) || host != "" && !strings.ContainsAny(host, ".:") {
			next.ServeHTTP(w, r)
			return
		}
		http.Error(w, fmt.Sprintf("This server answers to %s, not to %q. If that is its name too, start it with --metrics-allow-host followed by the name.",
			strings.Join(l.names, ", "), r.Host), http.StatusMisdirectedRequest)
	}), nil
}

// canonicalHost returns the host of host or host:port in the form in which two
// can be compared, "" when it has none.
func canonicalHost(s string) string {
	host := s
	if h, _, err := net.SplitHostPort(s); err == nil {
		host = h
	} else if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		host = s[1 : len(s)-1]
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func isLiteral(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// requireHost refuses requests that came under a name that is not ours.
func (s *server) requireHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A health probe asks by whatever address it has, and learns nothing.
		if r.URL.Path == pathHealth || s.hosts.allows(r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		s.refuse(w, r, "host", http.StatusMisdirectedRequest, fmt.Sprintf(
			"This server answers to %s, not to %q. If that is its name too, start it with --allow-host followed by the name.",
			strings.Join(s.hosts.names, ", "), r.Host))
	})
}

// requireSameOrigin refuses what the page of another origin sends through the
// visitor's browser. Browsers say so in Sec-Fetch-Site; "same-site" is refused
// too, for it includes every other port of localhost. Browsers too old for it
// send Origin. Programs that are not browsers send neither.
func (s *server) requireSameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Sec-Fetch-Site") {
		case "same-origin", "none":
		case "":
			origin := r.Header.Get("Origin")
			if origin == "" {
				break
			}
			if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
				s.refuse(w, r, "origin", http.StatusForbidden,
					"The request comes from a page of another origin. Only the page this server serves may ask it.")
				return
			}
		default:
			s.refuse(w, r, "site", http.StatusForbidden,
				"The request comes from a page of another site. Open the address yourself, or ask with a program that is not a browser.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// requireJSON refuses bodies of another type than JSON: those a form can send
// without asking first. It also bounds what a body may hold.
func (s *server) requireJSON(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 || r.Header.Get("Content-Type") != "" {
			if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
				s.refuse(w, r, "content_type", http.StatusUnsupportedMediaType,
					"Send the body as JSON, with the header Content-Type: application/json.")
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers with a problem and counts it under its reason.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, reason string, status int, sentence string) {
	s.metrics.refused.WithLabelValues(reason).Inc()
	writeProblem(w, r, status, sentence)
}

// checkQuery refuses a parameter that is given twice (which of the two was meant
// is a guess, and the answer would not say so) and text that no name or address
// can be: the database would refuse it later, as if the mistake were ours.
func checkQuery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			writeProblem(w, r, http.StatusUnprocessableEntity,
				"The query cannot be read: write parameters as name=value joined by &, with %25 for a percent sign and %3B for a semicolon.")
			return
		}
		for name, all := range q {
			if len(all) > 1 && r.URL.Path != pathNames {
				writeProblem(w, r, http.StatusUnprocessableEntity,
					parameterSentence(strconv.Quote(name), "given more than once; several keys are joined by commas"))
				return
			}
			for _, v := range all {
				if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
					writeProblem(w, r, http.StatusUnprocessableEntity,
						parameterSentence(strconv.Quote(name), "not text: write it in UTF-8, without bytes of zero"))
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}
