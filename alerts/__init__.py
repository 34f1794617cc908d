"""F2: speak or stay silent. Incident events in; deadlines, ladder, duty roster, messages out."""
