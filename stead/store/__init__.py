"""All SQL of stead: the record, the queue, the ledger. One storage a folder."""
