"""What is kept and what goes: rules, rails, plans. Nothing here deletes anything."""
