// Package fleet prints SQL that reads the archives of many instances in one bucket: schema, ingestion and named queries for ClickHouse,
// DuckDB and Athena. It runs nothing and connects to nothing. docs/FLEET.md explains the tables.
//
// The statements are in files below sql/. Each query has its own file, which begins with a comment that states the question that the
// query answers. Markers in double braces are replaced (see [Options]). test/fleet runs every statement on the real engines.
package fleet
