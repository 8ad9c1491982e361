package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/query"
	"flowtally/store"
	"flowtally/store/console"
)

// statusClientGone is what logs and counters say of a request whose client
// left before the answer; nobody reads it on the wire.
const statusClientGone = 499

// writeProblem answers with a problem document (RFC 9457). People who came with
// a browser to a page get the sentence as text.
func writeProblem(w http.ResponseWriter, r *http.Request, status int, sentence string) {
	w.Header().Set("Cache-Control", "no-store")
	if !isAPI(r.URL.Path) && strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprintln(w, sentence)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// The status is sent; an error here means that the client has gone.
	_ = json.NewEncoder(w).Encode(&huma.ErrorModel{Title: statusTitle(status), Status: status, Detail: sentence})
}

func statusTitle(status int) string {
	if status == statusClientGone {
		return "Client Closed Request"
	}
	return http.StatusText(status)
}

// parameterProblem says which query parameter cannot be used, and why. The
// sentence is both the detail and the message of the one error, so that a
// client may show either.
func parameterProblem(name, value, why string) error {
	p := &huma.ErrorModel{
		Title:  statusTitle(http.StatusUnprocessableEntity),
		Status: http.StatusUnprocessableEntity,
		Detail: parameterSentence(name, why),
	}
	e := &huma.ErrorDetail{Message: p.Detail, Location: "query"}
	if name != "" {
		e.Location += "." + name
	}
	if value != "" {
		e.Value = value
	}
	p.Errors = []*huma.ErrorDetail{e}
	return p
}

func parameterSentence(name, why string) string {
	if name == "" {
		return "The question cannot be answered: " + ended(why)
	}
	return "Parameter " + name + ": " + ended(why)
}

// ended is a sentence with a mark at its end.
func ended(sentence string) string {
	if strings.HasSuffix(sentence, ".") || strings.HasSuffix(sentence, "?") || strings.HasSuffix(sentence, "!") {
		return sentence
	}
	return sentence + "."
}

// inBody moves the places of a problem from the query to the body.
func inBody(err error) error {
	p, ok := errors.AsType[*huma.ErrorModel](err)
	if f, is := errors.AsType[*filterProblem](err); is {
		p, ok = &f.ErrorModel, true
	}
	if ok {
		for _, e := range p.Errors {
			if rest, is := strings.CutPrefix(e.Location, "query"); is {
				e.Location = "body" + rest
			}
		}
	}
	return err
}

// explain is a huma transformer: it turns the library's "validation failed"
// into a sentence that names the first parameter at fault.
func explain(_ huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*huma.ErrorModel)
	if !ok || p.Status != http.StatusUnprocessableEntity || len(p.Errors) == 0 || p.Detail != "validation failed" {
		return v, nil
	}
	first := p.Errors[0]
	name := first.Location
	for _, where := range []string{"query.", "body.", "path."} {
		name = strings.TrimPrefix(name, where)
	}
	if first.Message == "unknown query parameter" {
		p.Detail = fmt.Sprintf("There is no parameter %q here; %s lists those there are.", name, pathOpenAPI)
	} else {
		p.Detail = parameterSentence(name, first.Message)
	}
	first.Message = p.Detail
	return p, nil
}

// storeProblem turns an error of the store into an answer: 422 when the question
// makes no sense, 504 when time ran
// out, 503 when the database is away, 500 when it did not understand us. The
// cause goes to the log, since it may name hosts and users.
func (s *server) storeProblem(ctx context.Context, question string, err error) error {
	if q, ok := errors.AsType[*query.Error](err); ok && ctx.Err() == nil {
		return parameterProblem(q.Parameter, "", q.Reason)
	}
	if p := statementProblem(err); p != nil && ctx.Err() == nil {
		return p
	}
	status, sentence := classify(ctx, err, s.config.Timeout)
	switch status {
	case statusClientGone:
		s.log.Debug("client left before the answer", "question", question)
	case http.StatusNotFound, http.StatusConflict:
	default:
		s.log.Warn("question not answered", "question", question, "status", status, "err", err)
	}
	p := &huma.ErrorModel{Title: statusTitle(status), Status: status, Detail: sentence}
	if status == http.StatusServiceUnavailable {
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {"5"}})
	}
	return p
}

// classify returns the status and the sentence for an error of the store. The
// context is the request's own, without our time limit.
func classify(ctx context.Context, err error, limit time.Duration) (int, string) {
	var sql interface{ SQLState() string }
	state := ""
	if errors.As(err, &sql) {
		state = sql.SQLState()
	}
	switch {
	case ctx.Err() != nil:
		return statusClientGone, "The client closed the connection before the answer."
	case errors.Is(err, console.ErrNotFound):
		return http.StatusNotFound, "There is no such thing any more: somebody may have removed it. Load the page again."
	case errors.Is(err, console.ErrTaken):
		return http.StatusConflict, "Something else has this name already: choose another."
	case errors.Is(err, store.ErrBusy):
		return http.StatusServiceUnavailable, "Too many questions are being answered. Try again in a moment."
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrTimeout):
		return http.StatusGatewayTimeout, fmt.Sprintf(
			"The database needed more than %s for this question. Ask for a shorter range, a coarser step or fewer keys.", limit)
	case state == "57014": // query_canceled: the role's statement_timeout
		return http.StatusGatewayTimeout,
			"The database stopped the question at its time limit. Ask for a shorter range, a coarser step or fewer keys."
	case state == "42P01" || state == "42703" || state == "42883" || state == "42501":
		// undefined table, column or function; insufficient privilege
		return http.StatusInternalServerError,
			"The database has no such table or does not let us read it (SQLSTATE " + state + "). Run flowtally migrate, then try again."
	case state == "" || strings.HasPrefix(state, "08") || strings.HasPrefix(state, "53") || strings.HasPrefix(state, "57"):
		return http.StatusServiceUnavailable,
			"The database does not answer. Check that PostgreSQL is running and reachable; the log of flowtally web has the cause."
	default:
		return http.StatusInternalServerError,
			"The database refused the question (SQLSTATE " + state + "). That is a defect of ours; the log of flowtally web has the cause."
	}
}

// recoverPanics answers 500 when a handler panics, and logs where.
func (s *server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			s.log.Error("handler panicked", "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			writeProblem(w, r, http.StatusInternalServerError,
				"Something went wrong here that should not. The log of flowtally web has the cause.")
		}()
		next.ServeHTTP(w, r)
	})
}
