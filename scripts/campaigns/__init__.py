"""Campaigns: many ways to break a bundle or whoever writes one, and how many of them were noticed."""
