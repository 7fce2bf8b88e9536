package spool

const writerEnv = "WAYSIDE_SPOOL_TEST_WRITER"

func writerMain() {}
