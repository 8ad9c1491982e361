package web

import "flowtally/store"

// exporterRowOf puts a row of the store into the API's words.
func exporterRowOf(r *store.ExporterRow) exporterRow {
	return exporterRow{
		ID: int64(r.ID), Name: r.Name, Label: r.Label, Addr: r.Addr.String(), ObservationDomain: int64(r.ObservationDomain),
		Version: int64(r.Version), FirstSeen: r.FirstSeen.UTC(), LastSeen: r.LastSeen.UTC(),
		Datagrams: int64(r.Datagrams), Records: int64(r.Records), Packets: int64(r.Packets), Bytes: int64(r.Bytes),
		SamplingRate: r.SamplingRate, ClockOffsetMS: r.ClockOffset.Milliseconds(),
	}
}
