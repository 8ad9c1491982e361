// Package client is where the client stands that a test generates from web/openapi.json; it is
// not kept. What it imports is, so that its version is known.
package client

import _ "github.com/oapi-codegen/runtime"
