"""What is kept and what is deleted: rules, rails, plans. Nothing here deletes anything."""
