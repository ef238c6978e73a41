//! Sets of IP addresses as sorted ranges: union, difference, overlap, and their text forms.
