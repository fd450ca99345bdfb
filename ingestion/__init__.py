"""Extract and load: landed files go into the warehouse's raw schemas, nothing is transformed."""
